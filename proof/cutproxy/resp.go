package cutproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// readCommand reads a command, which is an array of strings. It returns its bytes and its words.
func readCommand(r *bufio.Reader) (raw []byte, words [][]byte, err error) {
	raw, n, err := readHeader(r, nil)
	if err != nil {
		return nil, nil, err
	}
	if raw[0] != '*' || n < 1 {
		return nil, nil, fmt.Errorf("cutproxy: a command starts with %q", raw)
	}
	for range n {
		start := len(raw)
		var size int
		if raw, size, err = readHeader(r, raw); err != nil {
			return nil, nil, err
		}
		if raw[start] != '$' {
			return nil, nil, fmt.Errorf("cutproxy: a word starts with %q", raw[start:])
		}
		if raw, err = readBytes(r, raw, size+2); err != nil {
			return nil, nil, err
		}
		words = append(words, raw[len(raw)-size-2:len(raw)-2])
	}
	return raw, words, nil
}

// readReply reads a reply of any type and returns its bytes.
func readReply(r *bufio.Reader) ([]byte, error) { return appendReply(r, nil) }

func appendReply(r *bufio.Reader, raw []byte) ([]byte, error) {
	start := len(raw)
	raw, n, err := readHeader(r, raw)
	if err != nil {
		return nil, err
	}
	switch raw[start] {
	case '$', '!', '=':
		if n < 0 {
			return raw, nil
		}
		return readBytes(r, raw, n+2)
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		return raw, nil // the reply is a single line
	}
	if raw[start] == '|' {
		n++ // attributes are followed by the value that they describe
	}
	for range max(n, 0) {
		if raw, err = appendReply(r, raw); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

func isPush(reply []byte) bool { return reply[0] == '>' }

// readHeader appends a line to raw. It returns the number in the line, or 0 without a number.
func readHeader(r *bufio.Reader, raw []byte) ([]byte, int, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, 0, err
	}
	if len(line) < 3 {
		return nil, 0, errors.New("cutproxy: a line without a type")
	}
	n, _ := strconv.Atoi(string(line[1 : len(line)-2]))
	return append(raw, line...), n, nil
}

func readBytes(r *bufio.Reader, raw []byte, n int) ([]byte, error) {
	start := len(raw)
	raw = append(raw, make([]byte, n)...)
	_, err := io.ReadFull(r, raw[start:])
	return raw, err
}

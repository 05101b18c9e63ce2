package remote

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
)

// The functions below append JSON to a text. They copy a payload once, byte for byte.

// appendJSON appends a value whose encoding cannot fail.
func appendJSON(b []byte, v any) []byte {
	buf := bytes.NewBuffer(b)
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// appendObject appends an object of a head's fields and a payload. With a payload the head has a
// field.
func appendObject(b []byte, head any, codec string, payload []byte) []byte {
	b = appendJSON(b, head)
	switch {
	case len(payload) == 0:
		return b
	case standsAsJSON(codec, payload):
		b = append(b[:len(b)-1], `,"payload":`...)
		return append(append(slices.Grow(b, len(payload)+1), payload...), '}')
	}
	b = append(b[:len(b)-1], `,"payload_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, payload), `"}`...)
}

// standsAsJSON reports whether a payload comes back byte for byte if it stands in JSON.
func standsAsJSON(codec string, payload []byte) bool {
	return codec == "json" && len(bytes.Trim(payload, " \t\r\n")) == len(payload) &&
		utf8.Valid(payload) && json.Valid(payload)
}

func appendRecord(b []byte, r backends.Record) []byte {
	return appendObject(b, head(r), r.Codec, r.Payload)
}

// appendLine appends a record without line breaks, which would end a line of an event. In JSON they
// are no more than white space.
func appendLine(b []byte, r backends.Record) []byte {
	start := len(b)
	b = appendRecord(b, r)
	for i, c := range b[start:] {
		if c == '\n' || c == '\r' {
			b[start+i] = ' '
		}
	}
	return b
}

func appendList[E any](b []byte, list []E, add func([]byte, E) []byte) []byte {
	b = append(b, '[')
	for i, element := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = add(b, element)
	}
	return append(b, ']')
}

// appendRequests appends an object that the caller closes.
func appendRequests(b []byte, recs []backends.Record, errs []error) []byte {
	b = appendList(append(b, `{"requests":`...), recs, appendRecord)
	return appendList(append(b, `,"errors":`...), errs, appendFailure)
}

func appendClaimed(b []byte, c backends.Claimed) []byte {
	return append(appendRequests(b, c.Records, c.Errs), '}')
}

func appendResult(b []byte, r backends.ClaimResult) []byte {
	if r.Err != nil {
		return append(appendFailure(append(b, `{"failure":`...), r.Err), '}')
	}
	return append(appendList(append(b, `{"claimed":`...), r.Claimed, appendClaimed), '}')
}

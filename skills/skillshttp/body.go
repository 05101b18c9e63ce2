package skillshttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/pendingq/pendingq/internal/quota"
	"github.com/pendingq/pendingq/skills/wire"
)

// decodeSmall reads a JSON body of at most 64 KiB into v. It ignores unknown fields. An empty body
// leaves v as it is.
func (c *call) decodeSmall(v any) error {
	body, err := c.read(maxSmallBody, min(pieceTime, c.config.BodyTimeout))
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	return decode(body, v)
}

// decodeReport reads the JSON body of a report into v. A large report waits until the node has room
// for it.
func (c *call) decodeReport(v any, limit int64) error {
	n := c.r.ContentLength
	if n > limit {
		return tooLarge("the body is over the limit of %d bytes", limit)
	}
	if n < 0 {
		n = limit
	}
	if n > maxSmallBody && !c.hold(&c.reports, n, c.config.CallTime,
		quota.Of("", c.config.MaxBytes), quota.Of(ofRuntime(c.runtimeID), c.config.MaxBytes/2)) {
		return refuse(http.StatusServiceUnavailable, wire.CodeOverloaded,
			"too many large reports are on their way; try again")
	}
	body, err := c.read(limit, c.config.BodyTimeout)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return invalid("the body is empty")
	}
	return decode(body, v)
}

// decode decodes the first JSON value of a body.
func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset > 1 { // the error may be about data after the value
		err = json.Unmarshal(body[:syntax.Offset-1], v)
	}
	if err != nil {
		return invalid("the body is not the JSON that is expected here") // err quotes the body
	}
	return nil
}

// read reads a body of at most limit bytes. The body has to arrive within the given time.
func (c *call) read(limit int64, within time.Duration) ([]byte, error) {
	control := http.NewResponseController(c.w)
	p := &paced{call: c, from: http.MaxBytesReader(c.w, c.r.Body, limit), control: control,
		end: time.Now().Add(within)}
	var buf bytes.Buffer
	if n := c.r.ContentLength; n > 0 && n <= limit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(p)
	_ = control.SetReadDeadline(time.Time{}) // a wait may follow; some writers support no deadlines
	var over *http.MaxBytesError
	var refused *refusal
	switch {
	case err == nil || errors.As(err, &refused):
		return buf.Bytes(), err
	case errors.As(err, &over):
		return nil, tooLarge("the body is over the limit of %d bytes", over.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded): // not a 4xx, after which a daemon does not retry
		return nil, refuse(http.StatusServiceUnavailable, wire.CodeOverloaded,
			"the body did not arrive in time; try again")
	}
	return nil, &refusal{http.StatusBadRequest, wire.CodeInvalid, "the body could not be read", err}
}

// maxValues is how many values the JSON of a body may have. A value of two bytes can take a hundred
// bytes in memory.
const maxValues = 200_000

var errManyValues = tooLarge("the body has over %d JSON values", maxValues)

// paced reads a body piece by piece. Each piece has to arrive in time. It counts the JSON values.
type paced struct {
	*call
	from    io.Reader
	control *http.ResponseController
	end     time.Time
	left    int // bytes left of the piece

	values   int
	inString bool
	escaped  bool
}

// Read implements [io.Reader].
func (p *paced) Read(b []byte) (int, error) {
	if p.left <= 0 {
		p.left = bodyPiece
		deadline := time.Now().Add(pieceTime)
		if deadline.After(p.end) {
			deadline = p.end
		}
		_ = p.control.SetReadDeadline(deadline)
	}
	n, err := p.from.Read(b[:min(len(b), bodyPiece)])
	p.left -= n
	if p.count(b[:n]); p.values > maxValues {
		return n, errManyValues
	}
	return n, err
}

// count counts the values of JSON by their separators.
func (p *paced) count(text []byte) {
	for _, b := range text {
		switch {
		case p.escaped:
			p.escaped = false
		case p.inString:
			p.escaped, p.inString = b == '\\', b != '"'
		case b == '"':
			p.inString = true
		case b == ',' || b == '[' || b == '{':
			p.values++
		}
	}
}

// encoded is an answer that is JSON already.
type encoded []byte

// encode writes an answer as JSON, without HTML escapes. A record's head and payload become one
// object.
func encode(answer any) ([]byte, error) {
	if body, ok := answer.(encoded); ok {
		return body, nil
	}
	body, err := appendJSON(nil, answer)
	rec, isRecord := answer.(record)
	if err != nil || !isRecord {
		return body, err
	}
	end := len(body) - 1 // the index of the head's }
	if body, err = appendJSON(body[:end], rec.payload); err != nil {
		return nil, err
	}
	if len(body) == end+len("{}") {
		return append(body[:end], '}'), nil
	}
	body[end] = ',' // instead of the payload's {
	return body, nil
}

func appendJSON(body []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(body)
	encoder := json.NewEncoder(buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

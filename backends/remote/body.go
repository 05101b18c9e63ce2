package remote

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"

	"github.com/pendingq/pendingq/backends"
)

// body is a JSON text in pieces. A payload is one of them, so it is not copied to be sent.
type body struct {
	pieces []piece
	size   int64
}

type piece struct {
	bytes  []byte
	base64 bool // is sent as base64
}

func (b *body) text(text string) *body { return b.add([]byte(text), false) }

func (b *body) add(bytes []byte, asBase64 bool) *body {
	b.pieces = append(b.pieces, piece{bytes, asBase64})
	if asBase64 {
		b.size += int64(base64.StdEncoding.EncodedLen(len(bytes)))
	} else {
		b.size += int64(len(bytes))
	}
	return b
}

// value adds a value whose encoding cannot fail.
func (b *body) value(v any) *body {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
	return b.add(bytes.TrimSuffix(buf.Bytes(), []byte("\n")), false)
}

// object adds an object of a head's fields and a payload. With a payload the head has a field.
func (b *body) object(head any, codec string, payload []byte) *body {
	b.value(head)
	if len(payload) == 0 {
		return b
	}
	last := &b.pieces[len(b.pieces)-1]
	last.bytes = last.bytes[:len(last.bytes)-1]
	b.size--
	if standsAsJSON(codec, payload) {
		return b.text(`,"payload":`).add(payload, false).text("}")
	}
	return b.text(`,"payload_base64":"`).add(payload, true).text(`"}`)
}

func (b *body) record(r backends.Record) *body { return b.object(newHead(r), r.Codec, r.Payload) }

// requests adds the fields requests and errors, without braces.
func (b *body) requests(recs []backends.Record, errs []error) *body {
	b.text(`"requests":[`)
	for i, rec := range recs {
		if i > 0 {
			b.text(",")
		}
		b.record(rec)
	}
	heads := make([]errorHead, len(errs))
	for i, err := range errs {
		_, heads[i] = encodeError(err)
	}
	return b.text(`],"errors":`).value(heads)
}

func (b *body) claimed(claimed []backends.Claimed) *body {
	b.text(`{"claimed":[`)
	for i, c := range claimed {
		if i > 0 {
			b.text(",")
		}
		b.text("{").requests(c.Records, c.Errs).text("}")
	}
	return b.text("]}")
}

// writeTo writes the text.
func (b *body) writeTo(w io.Writer) error {
	for _, p := range b.pieces {
		var err error
		if p.base64 {
			encoder := base64.NewEncoder(base64.StdEncoding, w)
			_, _ = encoder.Write(p.bytes)
			err = encoder.Close() // also has the error of Write
		} else {
			_, err = w.Write(p.bytes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

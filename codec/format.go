package codec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// formatCodec is the codec that [JSON] and [Msgpack] return.
type formatCodec[T any] struct {
	*format
	plan    *plan
	refusal error // why T is not supported, or nil
}

// format has the differences between [JSON] and [Msgpack].
type format struct {
	name string
	// methods are pairs of encoding and decoding interfaces. The library prefers the first pair.
	methods [][2]reflect.Type
	// field returns the stored name of a field. inline means that the fields of an embedded struct
	// replace it. The error says why the field would be lost. top is true in the outermost struct.
	field func(f reflect.StructField, top bool) (name string, inline bool, err error)
	// checkType rejects types whose values the format would change or lose.
	checkType func(reflect.Type) error
	// scalarCheck returns the check to run on each value of a scalar type, or nil.
	scalarCheck func(reflect.Type) scalarCheck
	// finish completes the root of a plan.
	finish func(*plan) error
	// encode and decode take a pointer to a value of the plan's type.
	encode func(p *plan, v any) ([]byte, error)
	decode func(p *plan, data []byte, v any) error
}

func newCodec[T any](f *format, samples []any) Codec[T] {
	c := &formatCodec[T]{format: f}
	if c.plan, c.refusal = newPlan(reflect.TypeFor[T](), f); c.refusal == nil {
		c.refusal = f.prove(c.plan, samples)
	}
	return c
}

// Name implements [Codec].
func (c *formatCodec[T]) Name() string { return c.name }

// Check returns why T is not supported, or nil.
func (c *formatCodec[T]) Check() error { return c.refusal }

// Marshal implements [Codec].
func (c *formatCodec[T]) Marshal(v T) ([]byte, error) {
	if c.refusal != nil {
		return nil, c.refusal
	}
	encode := c.encodeGuarded
	if len(c.plan.methods) > 0 {
		encode = c.roundTrip
	}
	encoded, err := encode(c.plan, &v)
	if err != nil {
		return nil, inPath(typeName(c.plan.typ), err)
	}
	return encoded, nil
}

// Unmarshal implements [Codec].
func (c *formatCodec[T]) Unmarshal(data []byte) (v T, err error) {
	if c.refusal != nil {
		return v, c.refusal
	}
	if err := c.decodeGuarded(c.plan, data, &v); err != nil {
		return *new(T), err
	}
	return v, nil
}

// encodeGuarded encodes *v and turns a panic into an error.
func (f *format) encodeGuarded(p *plan, v any) (encoded []byte, err error) {
	defer guard(&err)
	if p.needsCheck {
		if err := p.check(reflect.ValueOf(v).Elem(), 0); err != nil {
			return nil, err
		}
	}
	return f.encode(p, v)
}

// decodeGuarded decodes into *v and turns a panic into an error.
func (f *format) decodeGuarded(p *plan, data []byte, v any) (err error) {
	defer guard(&err)
	return f.decode(p, data, v)
}

// These errors and [errChanged] mean that an encoded value does not make the round trip.
var (
	errUndecodable = errors.New("the encoded value cannot be decoded")
	errPanicked    = errors.New("encoding or decoding the value panicked")
)

// roundTrip encodes *v and returns an error unless the bytes decode to an equal value.
func (f *format) roundTrip(p *plan, v any) (encoded []byte, err error) {
	defer guard(&err)
	sent, got := reflect.New(p.typ), reflect.New(p.typ)
	sent.Elem().Set(reflect.ValueOf(v).Elem()) // encoding methods may change *v
	if encoded, err = f.encodeGuarded(p, v); err != nil {
		return nil, err
	}
	if err := f.decodeGuarded(p, encoded, got.Interface()); err != nil {
		return nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return encoded, compare(sent.Elem(), got.Elem())
}

// guard recovers from a panic. Its error omits the panic's text, which may quote the payload.
func guard(err *error) {
	if recover() != nil {
		*err = errPanicked
	}
}

// maxPooled is the capacity of the largest buffer that is pooled, in bytes.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// buffered calls write with a pooled buffer and returns a copy of the content.
func buffered(write func(*bytes.Buffer) error) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	if err := write(buf); err != nil {
		return nil, err
	}
	return bytes.Clone(buf.Bytes()), nil
}

package codec

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// plain is the codec of a dialect.
type plain[T any] struct {
	*dialect
	plan    *plan
	refusal error // why T cannot be carried
}

// dialect is how [JSON] and [Msgpack] differ.
type dialect struct {
	name string
	// methods are pairs of interfaces, to encode and to decode, in the order in which the format
	// prefers them.
	methods [][2]reflect.Type
	// field returns the name that a field is written with, and whether the fields of an embedded
	// struct are written in its place; or why the field would be lost.
	field func(f reflect.StructField, top bool) (name string, inline bool, err error)
	// checkType returns why values of a type without encoding methods would be lost.
	checkType func(reflect.Type) error
	// check returns the check that values of a scalar type need before they are encoded, or nil.
	check func(reflect.Type) scalarCheck
	// finish, unless nil, adds to the root of a plan what encode and decode need.
	finish func(*plan) error
	// encode and decode take a pointer to a value of the plan's type.
	encode func(p *plan, v any) ([]byte, error)
	decode func(p *plan, data []byte, v any) error
}

func newPlain[T any](d *dialect, samples []any) Codec[T] {
	c := &plain[T]{dialect: d}
	if c.plan, c.refusal = newPlan(reflect.TypeFor[T](), d); c.refusal == nil {
		c.refusal = d.prove(c.plan, samples)
	}
	return c
}

// Name implements [Codec].
func (c *plain[T]) Name() string { return c.name }

// Check returns why T cannot be carried without loss.
func (c *plain[T]) Check() error { return c.refusal }

// Marshal implements [Codec].
func (c *plain[T]) Marshal(v T) ([]byte, error) {
	if c.refusal != nil {
		return nil, c.refusal
	}
	encode := (*dialect).encodeGuarded
	if len(c.plan.methods) > 0 {
		encode = (*dialect).carry
	}
	encoded, err := encode(c.dialect, c.plan, &v)
	if err != nil {
		return nil, below(typeName(c.plan.typ), err)
	}
	return encoded, nil
}

// Unmarshal implements [Codec].
func (c *plain[T]) Unmarshal(data []byte) (v T, err error) {
	if c.refusal != nil {
		return v, c.refusal
	}
	if err := c.decodeGuarded(c.plan, data, &v); err != nil {
		return *new(T), err
	}
	return v, nil
}

// encodeGuarded encodes what v points to.
func (d *dialect) encodeGuarded(p *plan, v any) (encoded []byte, err error) {
	defer guard(&err)
	if p.watched {
		if err := p.check(reflect.ValueOf(v).Elem(), 0); err != nil {
			return nil, err
		}
	}
	return d.encode(p, v)
}

// With [errChanged], these say why a value that can be encoded is still not carried.
var (
	errUnread   = errors.New("its methods write a value that they do not read back")
	errPanicked = errors.New("encoding or decoding it panicked")
)

// carry encodes what v points to, and checks that the bytes decode to an equal value.
func (d *dialect) carry(p *plan, v any) (encoded []byte, err error) {
	defer guard(&err)
	sent, got := reflect.New(p.typ), reflect.New(p.typ)
	sent.Elem().Set(reflect.ValueOf(v).Elem()) // a method of a pointer may change v
	if encoded, err = d.encodeGuarded(p, v); err != nil {
		return nil, err
	}
	if err := d.decodeGuarded(p, encoded, got.Interface()); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnread, err)
	}
	return encoded, d.difference(sent.Elem(), got.Elem(), 0)
}

// decodeGuarded decodes into what v points to.
func (d *dialect) decodeGuarded(p *plan, data []byte, v any) (err error) {
	defer guard(&err)
	return d.decode(p, data, v)
}

// guard, deferred, turns a panic into an error without the panic's text.
func guard(err *error) {
	if recover() != nil {
		*err = errPanicked
	}
}

// maxPooled is the size of the largest buffer that is kept for the next call, in bytes.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// buffered returns a copy of what write writes.
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

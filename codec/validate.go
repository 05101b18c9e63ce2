package codec

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tinylib/msgp/msgp"
)

// validateMsgpack returns an error unless data is one value of the plan's shape within the limits.
// The library vmihailenco/msgpack does not check this: it allocates any length that its input
// declares, recurses without limit, accepts null for any type, and truncates integers.
func validateMsgpack(p *plan, data []byte) error {
	m := measurer{data: data, memory: decodeMemory(len(data))}
	err := m.msgpack(p, 0)
	if err == nil && len(m.data) > 0 {
		err = errors.New("bytes follow the value")
	}
	if err != nil {
		return fmt.Errorf("invalid msgpack at byte %d: %w", len(data)-len(m.data), err)
	}
	return nil
}

// msgpack measures the next value.
func (m *measurer) msgpack(p *plan, depth int) (err error) {
	kind := msgp.NextType(m.data)
	if p.shape == pointer && kind != msgp.NilType {
		if err := m.reserve(1, p); err != nil {
			return err
		}
		p = p.elem
	}
	switch {
	case depth > maxReadDepth:
		return errTooDeep
	case kind == msgp.NilType && p.nilable():
		m.data, err = msgp.ReadNilBytes(m.data)
		return err
	case !p.accepts(kind, m.data):
		return fmt.Errorf("the value does not fit Go type %s", p.typ)
	case kind == msgp.ArrayType || kind == msgp.MapType:
		return m.elements(p, kind, depth+1)
	}
	before := len(m.data)
	if m.data, err = msgp.Skip(m.data); err != nil {
		return err
	}
	return m.reserveBytes(before - len(m.data))
}

// nilable reports whether values of the plan may be encoded as null.
func (p *plan) nilable() bool {
	return p.shape == custom || slices.Contains(
		[]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, p.typ.Kind())
}

// accepts reports whether the first value of data fits the plan. The caller has handled null.
func (p *plan) accepts(kind msgp.Type, data []byte) bool {
	switch p.shape {
	case custom:
		return true
	case list:
		n, _, err := msgp.ReadArrayHeaderBytes(data)
		return err == nil && (p.typ.Kind() == reflect.Slice || int(n) <= p.typ.Len())
	case mapping, structure:
		return kind == msgp.MapType
	}
	switch v := reflect.Zero(p.typ); {
	case p.typ == timeType: // only the extension: with text, an error would quote the text
		return len(data) > 0 && slices.Contains([]byte{0xc7, 0xd6, 0xd7}, data[0])
	case v.CanInt():
		n, _, err := msgp.ReadInt64Bytes(data)
		return err == nil && !v.OverflowInt(n)
	case v.CanUint():
		n, _, err := msgp.ReadUint64Bytes(data)
		return err == nil && !v.OverflowUint(n)
	}
	return kind != msgp.ArrayType && kind != msgp.MapType && kind != msgp.NilType
}

// elements measures an array or map.
func (m *measurer) elements(p *plan, kind msgp.Type, depth int) (err error) {
	var n int
	if n, m.data, err = readLength(kind, m.data); err != nil {
		return err
	}
	key, elem := anything, anything
	if p.shape == list || p.shape == mapping {
		elem = p.elem
		if err := m.reserve(n, p); err != nil {
			return err
		}
	}
	if p.shape == mapping {
		key = p.key
	}
	for range n {
		if p.shape == structure {
			name, _, err := msgp.ReadStringZC(m.data) // m.data still has the name
			if err != nil {
				return errors.New("a field's name is not a string")
			}
			elem = cmp.Or(p.byName[string(name)], anything)
		}
		if kind == msgp.MapType {
			if err := m.msgpack(key, depth); err != nil {
				return err
			}
		}
		if err := m.msgpack(elem, depth); err != nil {
			return err
		}
	}
	return nil
}

// readLength returns the number of elements of an array or map, and the bytes that follow. It
// returns an error if data is too short: each element takes at least a byte.
func readLength(kind msgp.Type, data []byte) (n int, rest []byte, err error) {
	read := msgp.ReadArrayHeaderBytes
	if kind == msgp.MapType {
		read = msgp.ReadMapHeaderBytes
	}
	count, rest, err := read(data)
	if err == nil && int(count) > len(rest) {
		err = msgp.ErrShortBytes
	}
	return int(count), rest, err
}

package codec

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tinylib/msgp/msgp"
)

// Bytes are measured before they are decoded, and where Marshal's own could be over the limit,
// before they are stored. vmihailenco/msgpack also allocates the lengths that bytes declare,
// recurses as deep as they nest, takes null for any value, and cuts integers to the size of their
// field. So msgpack must be one value of the plan's shape, no deeper than maxRead.

// decodeMemory is the memory that so many bytes may take to decode, in bytes.
func decodeMemory(n int) int { return 32<<20 + 4*n }

// mayTakeTooMuch reports whether bytes with so many elements could take more. An element may be one
// of a list, and of the pointer in it.
func (p *plan) mayTakeTooMuch(elements int, data []byte) bool {
	return elements*2*(p.densest+1) > decodeMemory(len(data))
}

// elementMemory is about the memory that n elements of a pointer, list or mapping take, in bytes.
func (p *plan) elementMemory(n int) int {
	switch p.typ.Kind() {
	case reflect.Array: // its elements are in its own memory
		return 0
	case reflect.Slice: // grown to twice its size, or copied once
		return 2 * n * int(p.elem.typ.Size())
	case reflect.Map: // in groups of 8 entries, grown to twice its size
		return 2 * (n + 7) / 8 * 8 * (int(p.key.typ.Size()) + int(p.elem.typ.Size()) + 8)
	}
	return n * int(p.elem.typ.Size())
}

// measure returns why bytes are not to be decoded.
func measure(p *plan, data []byte) error {
	m := measurer{data: data, memory: decodeMemory(len(data))}
	err := m.value(p, 0)
	if err == nil && len(m.data) > 0 {
		err = errors.New("something follows the value")
	}
	if err != nil {
		return fmt.Errorf("invalid msgpack at byte %d: %w", len(data)-len(m.data), err)
	}
	return nil
}

// measurer reads a value and counts the memory that decoding it takes.
type measurer struct {
	data   []byte // not read yet
	memory int    // left, in bytes
}

// anything is the plan of a value that the decoder skips, or hands on as it is.
var anything = &plan{form: opaque}

func (m *measurer) value(p *plan, depth int) (err error) {
	kind := msgp.NextType(m.data)
	switch {
	case depth > maxRead:
		return errTooDeep
	case kind == msgp.NilType && p.nilable():
		m.data, err = msgp.ReadNilBytes(m.data)
		return err
	case p.form == pointer:
		if err := m.take(1, p); err != nil {
			return err
		}
		return m.value(p.elem, depth+1)
	case !p.accepts(kind, m.data):
		return fmt.Errorf("it does not fit a %s", p.typ)
	case kind == msgp.ArrayType || kind == msgp.MapType:
		return m.elements(p, kind, depth+1)
	}
	before := len(m.data)
	if m.data, err = msgp.Skip(m.data); err != nil {
		return err
	}
	return m.takeBytes(before - len(m.data))
}

// nilable reports whether the encoder writes some values of the plan as null.
func (p *plan) nilable() bool {
	return p.form == opaque || slices.Contains(
		[]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, p.typ.Kind())
}

// accepts reports whether the value that data begins with has the plan's shape, if it is not null.
func (p *plan) accepts(kind msgp.Type, data []byte) bool {
	switch p.form {
	case opaque:
		return true
	case list:
		n, _, err := msgp.ReadArrayHeaderBytes(data)
		return err == nil && (p.typ.Kind() == reflect.Slice || int(n) <= p.typ.Len())
	case mapping, structure:
		return kind == msgp.MapType
	}
	switch v := reflect.Zero(p.typ); {
	case v.CanInt():
		n, _, err := msgp.ReadInt64Bytes(data)
		return err == nil && !v.OverflowInt(n)
	case v.CanUint():
		n, _, err := msgp.ReadUint64Bytes(data)
		return err == nil && !v.OverflowUint(n)
	}
	return kind != msgp.ArrayType && kind != msgp.MapType && kind != msgp.NilType
}

// elements measures an array or map and what is in it.
func (m *measurer) elements(p *plan, kind msgp.Type, depth int) (err error) {
	var n int
	if n, m.data, err = header(kind, m.data); err != nil {
		return err
	}
	key, elem := anything, anything
	if p.form == list || p.form == mapping {
		elem = p.elem
		if err := m.take(n, p); err != nil {
			return err
		}
	}
	if p.form == mapping {
		key = p.key
	}
	for range n {
		if p.form == structure {
			name, _, err := msgp.ReadStringZC(m.data)
			if err != nil {
				return errors.New("a field's name is not a string")
			}
			elem = cmp.Or(p.byName[string(name)], anything)
		}
		if kind == msgp.MapType {
			if err := m.value(key, depth); err != nil {
				return err
			}
		}
		if err := m.value(elem, depth); err != nil {
			return err
		}
	}
	return nil
}

// header reads how many elements an array or map has. Each has at least a byte.
func header(kind msgp.Type, data []byte) (n int, rest []byte, err error) {
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

// take takes the memory of n elements of p.
func (m *measurer) take(n int, p *plan) error { return m.takeBytes(p.elementMemory(n)) }

func (m *measurer) takeBytes(n int) error {
	if m.memory -= n; m.memory < 0 {
		return fmt.Errorf("%w: decoding it takes too much memory", ErrTooLarge)
	}
	return nil
}

// measureJSON returns why bytes are not to be decoded. Most bytes have too few elements to matter.
func measureJSON(p *plan, data []byte) error {
	elements := 1
	for _, begin := range []string{",", "[", "{"} {
		elements += bytes.Count(data, []byte(begin))
	}
	if !p.mayTakeTooMuch(elements, data) {
		return nil
	}
	m := measurer{memory: decodeMemory(len(data))}
	err := m.json(p, json.NewDecoder(bytes.NewBuffer(data)), 0)
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	return nil // encoding/json says better what else is wrong
}

// json measures the next value.
func (m *measurer) json(p *plan, dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if depth > maxRead {
		return errTooDeep
	}
	if p.form == pointer && token != nil {
		if err := m.take(1, p); err != nil {
			return err
		}
		p = p.elem
	}
	open, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	elem := anything
	if p.form == list || p.form == mapping {
		elem = p.elem
	}
	for n := 0; dec.More(); n++ {
		if elem != anything && (p.form == list || n%8 == 0) {
			if err := m.take(1, p); err != nil {
				return err
			}
		}
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return err
			}
			if p.form == structure {
				elem = p.folded(name.(string))
			}
		}
		if err := m.json(elem, dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// folded returns the plan of the field that encoding/json finds by a name.
func (p *plan) folded(name string) *plan {
	if field := p.byName[name]; field != nil {
		return field
	}
	for known, field := range p.byName {
		if strings.EqualFold(known, name) {
			return field
		}
	}
	return anything
}

// appendSorted appends the first value of data, with the entries of each map in it in the order of
// their keys' bytes.
func appendSorted(out, data []byte) (sorted, rest []byte, err error) {
	kind := msgp.NextType(data)
	if kind != msgp.ArrayType && kind != msgp.MapType {
		rest, err = msgp.Skip(data)
		return append(out, data[:len(data)-len(rest)]...), rest, err
	}
	n, rest, err := header(kind, data)
	out = append(out, data[:len(data)-len(rest)]...)
	type entry struct{ key, whole []byte }
	entries := make([]entry, n)
	begin := len(out)
	for i := range entries {
		from := len(out)
		if kind == msgp.MapType && err == nil {
			out, rest, err = appendSorted(out, rest)
		}
		key := out[from:]
		if err == nil {
			out, rest, err = appendSorted(out, rest)
		}
		entries[i] = entry{key, out[from:]}
	}
	if kind == msgp.MapType {
		slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
		inOrder := make([]byte, 0, len(out)-begin)
		for _, e := range entries {
			inOrder = append(inOrder, e.whole...)
		}
		out = append(out[:begin], inOrder...)
	}
	return out, rest, err
}

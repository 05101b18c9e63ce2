package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// vmihailenco/msgpack believes the lengths that bytes declare and recurses as deep as they nest, so bytes are
// measured before it gets them: one value, nothing behind it, no deeper than maxDepth, and no more memory than
// what our own encoder wrote could ever need.

const (
	// freeMemory is what any value may take, in bytes, so that the rest can be a plain ratio.
	freeMemory = 64 << 10
	// mapEntryMemory is what an entry of a map takes beside its key and value, about.
	mapEntryMemory = 16
)

// allowance returns how many bytes of memory a byte of a type's encoding may take at most: twice what the
// densest of its elements takes, and 64 at least. Nulls in place of large structs take far more, and no encoder
// writes them.
func allowance(p *plan) int {
	most := 64
	seen := map[*plan]bool{}
	var visit func(p *plan)
	visit = func(p *plan) {
		if p == nil || seen[p] {
			return
		}
		seen[p] = true
		if p.elem != nil {
			shortest := p.elem.shortest(map[*plan]bool{})
			if p.form == mapping {
				shortest++ // the key
			}
			most = max(most, 2*p.elementMemory()/shortest)
		}
		visit(p.elem)
		for _, field := range p.fields {
			visit(field)
		}
	}
	visit(p)
	return most
}

// elementMemory is what one element of a pointer, list or mapping takes.
func (p *plan) elementMemory() int {
	if p.form == mapping { // Go keeps a map at most 7/8 full, and doubles it
		return 2 * (int(p.key.typ.Size()) + int(p.elem.typ.Size()) + mapEntryMemory)
	}
	return int(p.elem.typ.Size())
}

// shortest is the least number of bytes that a value of the plan is written in.
func (p *plan) shortest(under map[*plan]bool) int {
	n := 1
	switch {
	case under[p]:
	case p.form == structure:
		under[p] = true
		for _, field := range p.order {
			if !field.mayOmit {
				n += 1 + len(field.name) + field.shortest(under)
			}
		}
		delete(under, p)
	case p.form == list && p.typ.Kind() == reflect.Array:
		n += p.typ.Len() * p.elem.shortest(under)
	}
	return n
}

// measure says why bytes are not to be decoded.
func (c *msgpackCodec[T]) measure(data []byte) error {
	m := measurer{cursor: cursor{data: data}, memory: freeMemory + c.bytesPerByte*len(data)}
	err := m.value(c.plan, 0)
	if err == nil && m.pos < len(data) {
		err = errors.New("something follows the value")
	}
	if err != nil {
		return fmt.Errorf("invalid msgpack at byte %d: %w", m.pos, err)
	}
	return nil
}

// measurer reads a value and reckons what it would take to decode.
type measurer struct {
	cursor
	memory int // what is left
}

func (m *measurer) take(bytes int) error {
	if m.memory -= bytes; m.memory < 0 {
		return errors.New("it would take far more memory than it has bytes")
	}
	return nil
}

// value measures the next value, which a nil plan only skips.
func (m *measurer) value(p *plan, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	start := m.pos
	t, err := m.next()
	if err != nil || t.kind == null {
		return err
	}
	if p == nil || p.form == opaque {
		return m.skip(t, depth)
	}
	switch p.form {
	case pointer:
		m.pos = start
		if err := m.take(p.elementMemory()); err != nil {
			return err
		}
		return m.value(p.elem, depth+1)
	case list:
		return m.list(p, t, depth)
	case mapping:
		return m.mapping(p, t, depth)
	case structure:
		return m.structure(p, t, depth)
	}
	return m.scalar(p, t)
}

// skip reads the elements of what t began.
func (m *measurer) skip(t token, depth int) error {
	if err := m.take(t.bytes); err != nil {
		return err
	}
	for range t.elements() {
		if err := m.value(nil, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurer) scalar(p *plan, t token) error {
	if t.kind == array || t.kind == object || t.kind == integer && !t.fits(p.typ) {
		return fmt.Errorf("it does not fit a %s", p.typ)
	}
	return m.take(t.bytes)
}

func (m *measurer) list(p *plan, t token, depth int) error {
	if t.kind != array || p.typ.Kind() == reflect.Array && t.n > p.typ.Len() {
		return fmt.Errorf("it does not fit a %s", p.typ)
	}
	if err := m.take(t.n * p.elementMemory()); err != nil {
		return err
	}
	for range t.n {
		if err := m.value(p.elem, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurer) mapping(p *plan, t token, depth int) error {
	if t.kind != object {
		return fmt.Errorf("it does not fit a %s", p.typ)
	}
	if err := m.take(t.n * p.elementMemory()); err != nil {
		return err
	}
	for range t.n {
		if err := m.value(p.key, depth+1); err != nil {
			return err
		}
		if err := m.value(p.elem, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (m *measurer) structure(p *plan, t token, depth int) error {
	if t.kind != object {
		return fmt.Errorf("it does not fit a %s", p.typ)
	}
	for range t.n {
		name, err := m.next()
		if err != nil {
			return err
		}
		if name.kind != text {
			return errors.New("a field's name is not a string")
		}
		if err := m.value(p.fields[string(m.data[m.pos-name.bytes:m.pos])], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// tokenKind is what a token begins or is.
type tokenKind int

const (
	null    tokenKind = iota
	integer           // value or, when it is negative, int64(value)
	text              // a string, whose bytes the cursor has passed
	other             // a bool or float, or bytes or an extension that the cursor has passed
	array             // n values follow
	object            // n keys and values follow
)

// token is the beginning of a value, or the whole of one that has no values in it.
type token struct {
	kind     tokenKind
	n        int // values, or pairs of them
	bytes    int // of a string, bytes or an extension
	value    uint64
	negative bool
}

func (t token) elements() int {
	if t.kind == object {
		return 2 * t.n
	}
	return t.n
}

// fits reports whether an integer is in the range of a type, if that is an integer's.
func (t token) fits(typ reflect.Type) bool {
	switch k := typ.Kind(); {
	case k >= reflect.Int && k <= reflect.Int64:
		return (t.negative || int64(t.value) >= 0) && !typ.OverflowInt(int64(t.value))
	case k >= reflect.Uint && k <= reflect.Uint64:
		return !t.negative && !typ.OverflowUint(t.value)
	}
	return true
}

// cursor reads msgpack.
type cursor struct {
	data []byte
	pos  int
}

var errTruncated = errors.New("it ends too early")

// number reads a big-endian number of 1, 2, 4 or 8 bytes.
func (c *cursor) number(width int) (uint64, error) {
	if len(c.data)-c.pos < width {
		return 0, errTruncated
	}
	var padded [8]byte
	copy(padded[8-width:], c.data[c.pos:c.pos+width])
	c.pos += width
	return binary.BigEndian.Uint64(padded[:]), nil
}

// next reads a token. The format is https://github.com/msgpack/msgpack/blob/master/spec.md.
func (c *cursor) next() (token, error) {
	first, err := c.number(1)
	if err != nil {
		return token{}, err
	}
	switch code := byte(first); {
	case code <= 0x7f:
		return token{kind: integer, value: first}, nil
	case code >= 0xe0:
		return token{kind: integer, value: uint64(int64(int8(code))), negative: true}, nil
	case code <= 0x8f:
		return c.counted(object, first&0x0f)
	case code <= 0x9f:
		return c.counted(array, first&0x0f)
	case code <= 0xbf:
		return c.passed(text, first&0x1f)
	case code == 0xc0:
		return token{kind: null}, nil
	case code == 0xc2, code == 0xc3: // bool
		return token{kind: other}, nil
	case code >= 0xc4 && code <= 0xc6: // bytes
		return c.sized(other, 1<<(code-0xc4), 0)
	case code >= 0xc7 && code <= 0xc9: // extension, with a byte for its type
		return c.sized(other, 1<<(code-0xc7), 1)
	case code == 0xca, code == 0xcb: // float
		return c.fixed(4 << (code - 0xca))
	case code >= 0xcc && code <= 0xcf:
		return c.integer(1<<(code-0xcc), false)
	case code >= 0xd0 && code <= 0xd3:
		return c.integer(1<<(code-0xd0), true)
	case code >= 0xd4 && code <= 0xd8: // extension of a fixed size
		return c.passed(other, 1+1<<(code-0xd4))
	case code >= 0xd9 && code <= 0xdb:
		return c.sized(text, 1<<(code-0xd9), 0)
	case code == 0xdc, code == 0xdd:
		return c.sized(array, 2<<(code-0xdc), 0)
	case code == 0xde, code == 0xdf:
		return c.sized(object, 2<<(code-0xde), 0)
	}
	return token{}, fmt.Errorf("code %#x means nothing", first)
}

func (c *cursor) fixed(width int) (token, error) {
	_, err := c.number(width)
	return token{kind: other}, err
}

func (c *cursor) integer(width int, signed bool) (token, error) {
	value, err := c.number(width)
	if signed {
		shift := 64 - 8*width
		value = uint64(int64(value<<shift) >> shift)
	}
	return token{kind: integer, value: value, negative: signed && int64(value) < 0}, err
}

// sized reads a length of width bytes, to which extra is added, and what it is the length of.
func (c *cursor) sized(kind tokenKind, width int, extra uint64) (token, error) {
	n, err := c.number(width)
	if err != nil {
		return token{}, err
	}
	if kind == array || kind == object {
		return c.counted(kind, n)
	}
	return c.passed(kind, n+extra)
}

// counted begins n values or pairs, each of at least one byte or two.
func (c *cursor) counted(kind tokenKind, n uint64) (token, error) {
	t := token{kind: kind, n: int(n)}
	if t.elements() > len(c.data)-c.pos {
		return token{}, errTruncated
	}
	return t, nil
}

// passed moves past n bytes.
func (c *cursor) passed(kind tokenKind, n uint64) (token, error) {
	if n > uint64(len(c.data)-c.pos) {
		return token{}, errTruncated
	}
	c.pos += int(n)
	return token{kind: kind, bytes: int(n)}, nil
}

// sorted appends the next value, which our own encoder wrote, with the entries of every map in it in the order of
// their keys' bytes.
func (c *cursor) sorted(out []byte) []byte {
	start := c.pos
	t, _ := c.next()
	out = append(out, c.data[start:c.pos]...)
	if t.kind != object {
		for range t.n {
			out = c.sorted(out)
		}
		return out
	}
	type entry struct{ key, whole []byte }
	entries := make([]entry, t.n)
	begin := len(out)
	for i := range entries {
		from := len(out)
		out = c.sorted(out)
		key := out[from:]
		out = c.sorted(out)
		entries[i] = entry{key, out[from:]}
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	inOrder := make([]byte, 0, len(out)-begin)
	for _, e := range entries {
		inOrder = append(inOrder, e.whole...)
	}
	return append(out[:begin], inOrder...)
}

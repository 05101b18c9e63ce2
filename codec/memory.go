package codec

import (
	"fmt"
	"reflect"
)

// Input is measured before it is decoded, so that hostile input cannot exhaust memory. Marshal
// measures its output if that may be over the limit.

// decodeMemory is the limit of memory for decoding n bytes, in bytes.
func decodeMemory(n int) int { return 32<<20 + 4*n }

// mayExceed reports whether decoding n bytes with so many elements could exceed decodeMemory. The
// factor 2 is for elements that are pointers: each counts in its list and by itself.
func (p *plan) mayExceed(elements, n int) bool {
	return elements*2*(p.maxElement+1) > decodeMemory(n)
}

// elementMemory estimates the memory of n elements of a pointer, list or mapping, in bytes.
func (p *plan) elementMemory(n int) int {
	switch p.typ.Kind() {
	case reflect.Array: // part of the array's own memory
		return 0
	case reflect.Slice: // doubled as it grows
		return 2 * n * int(p.elem.typ.Size())
	case reflect.Map: // rounded up to groups of 8 entries, and doubled as it grows
		return 2 * ((n + 7) / 8 * 8) * (int(p.key.typ.Size()) + int(p.elem.typ.Size()) + 8)
	}
	return n * int(p.elem.typ.Size())
}

// measurer walks encoded values and counts the memory to decode them.
type measurer struct {
	data   []byte // msgpack that is not read yet
	memory int    // left to use, in bytes
}

// anything is the plan of a value that is skipped, or decoded by a type's methods.
var anything = &plan{shape: custom}

// reserve counts the memory of n elements of p.
func (m *measurer) reserve(n int, p *plan) error { return m.reserveBytes(p.elementMemory(n)) }

func (m *measurer) reserveBytes(n int) error {
	if m.memory -= n; m.memory < 0 {
		return fmt.Errorf("%w: decoding takes too much memory", ErrTooLarge)
	}
	return nil
}

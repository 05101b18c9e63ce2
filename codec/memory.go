package codec

import (
	"fmt"
	"reflect"
)

// Unmarshal measures its input before it decodes, so that hostile input cannot exhaust memory.
// Marshal measures its output if decoding the output may exceed the limit.

// decodeMemory is how much memory decoding n bytes may take, in bytes.
func decodeMemory(n int) int { return 32<<20 + 4*n }

// mayExceed reports whether decoding n bytes with so many elements could exceed decodeMemory. A
// pointer element takes memory twice: for the pointer and for its target.
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
	data   []byte // the rest of the msgpack to walk
	memory int    // the rest of the memory limit, in bytes
}

// anything is the plan of a value of any shape: Unmarshal skips it, or its methods decode it.
var anything = &plan{shape: custom}

// reserve counts the memory of n elements of p.
func (m *measurer) reserve(n int, p *plan) error { return m.reserveBytes(p.elementMemory(n)) }

func (m *measurer) reserveBytes(n int) error {
	if m.memory -= n; m.memory < 0 {
		return fmt.Errorf("%w: decoding takes too much memory", ErrTooLarge)
	}
	return nil
}

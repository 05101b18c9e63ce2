package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/skills"
)

// header returns a msgpack code with a length of 32 bits.
func header(code byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{code}, n)
}

// field returns a msgpack map with one short name and its encoded value.
func field(name string, value []byte) []byte {
	return slices.Concat([]byte{0x81, 0xa0 | byte(len(name))}, []byte(name), value)
}

// inList returns a list payload with these encoded skills.
func inList(skills []byte) []byte { return field("Skills", skills) }

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// checkFailsCheaply checks that decoding fails, and that it allocates at most budget bytes.
func checkFailsCheaply(t *testing.T, what string, budget uint64, decode func() error) {
	t.Helper()
	var err error
	if took := allocated(func() { err = decode() }); took > budget {
		t.Errorf("%s: allocated %d bytes, want at most %d", what, took, budget)
	}
	if err == nil {
		t.Errorf("%s: decoded, want an error", what)
	}
}

func TestHostileMsgpackFailsInLittleMemory(t *testing.T) {
	const array32, map32, str32, bin32, ext32, null = 0xdd, 0xdf, 0xdb, 0xc6, 0xc9, 0xc0
	list := func(element byte) []byte {
		return inList(append(header(array32, 2e6), bytes.Repeat([]byte{element}, 2e6)...))
	}
	nested := bytes.Repeat([]byte{0x91}, 2e6)
	for name, data := range map[string][]byte{
		"20 million declared elements":        inList(header(array32, 20e6)),
		"20 million declared pairs":           header(map32, 20e6),
		"4 GiB of string":                     field("SourcePath", header(str32, 1<<32-1)),
		"4 GiB of bytes":                      header(bin32, 1<<32-1),
		"4 GiB of extension":                  append(header(ext32, 1<<32-1), 1),
		"2 million nulls for structs":         list(null),
		"2 million empty structs":             list(0x80),
		"2 MB of nested arrays":               nested,
		"2 MB of nested arrays, unknown name": field("X", nested),
		"2 MB of nested maps":                 bytes.Repeat(field("Skills", nil), 3e5),
		"nested ext before a map":             bytes.Repeat([]byte{0xd4, 1}, 1e6),
		"an unused code":                      {0xc1},
		"no bytes":                            {},
		"an array for a struct":               {0x94, null, 0xc3, null, 0xc3},
		"a struct for a list":                 inList([]byte{0x80}),
		"a number for a name":                 {0x81, 0x01, 0x01},
		"a list for a bool":                   field("Supported", []byte{0x91, 0xc3}),
		"null for a bool":                     field("Supported", []byte{null}),
	} {
		checkFailsCheaply(t, name, 1<<20, func() error {
			_, err := codec.Msgpack[skills.List]().Unmarshal(data)
			return err
		})
	}
}

// bulky takes 2 KiB of memory. It is decoded from an empty map, which takes one byte.
type bulky struct{ A [128]string }

func TestSmallBytesThatExpandFailInLittleMemory(t *testing.T) {
	const array32, n = 0xdd, 300_000
	repeated := func(element string) []byte {
		return append(header(array32, n), strings.Repeat(element, n)...)
	}
	objects := []byte("[{}" + strings.Repeat(",{}", n) + "]")
	checkBudget(t, codec.Msgpack[[]map[uint8][120]byte](), repeated("\x81\x01\xc0"))
	checkBudget(t, codec.Msgpack[[]map[uint8][]string](), repeated("\x81\x01\xc0"))
	checkBudget(t, codec.Msgpack[[]bulky](), repeated("\x80"))
	checkBudget(t, codec.JSON[[]bulky](), objects)
	checkBudget(t, codec.JSON[map[string][]bulky](), []byte(`{"x":`+string(objects)+"}"))
	checkBudget(t, codec.JSON[struct{ List []*bulky }](), []byte(`{"LIST":`+string(objects)+"}"))
}

func checkBudget[T any](t *testing.T, c codec.Codec[T], data []byte) {
	t.Helper()
	what := fmt.Sprintf("%s, %T", c.Name(), *new(T))
	checkFailsCheaply(t, what, bombBudget, func() error {
		_, err := c.Unmarshal(data)
		return err
	})
}

// The msgpack library panics on some of these inputs.
func TestNullForATypeWithoutNilIsAnError(t *testing.T) {
	refusesBytes[struct{ T time.Time }](t, "\x81\xa1T\xc0")
	refusesBytes[[]time.Time](t, "\x91\xc0")
	refusesBytes[map[string]big.Int](t, "\x81\xa1a\xc0")
	refusesBytes[string](t, "\xc0")
	refusesBytes[[2]int](t, "\xc0")
}

func TestIntegersOutOfRangeAreRefused(t *testing.T) {
	refusesBytes[int8](t, "\xcc\x80")
	refusesBytes[int8](t, "\xd1\xff\x7f")
	refusesBytes[uint8](t, "\xff")
	refusesBytes[uint16](t, "\xce\x00\x01\x00\x00")
	refusesBytes[int64](t, "\xcf\x80\x00\x00\x00\x00\x00\x00\x00")
	for _, n := range []int16{-32768, -129, -128, -33, -32, -1, 0, 127, 128, 255, 256, 32767} {
		checkRoundTrip(t, n)
	}
}

func refusesBytes[T any](t *testing.T, data string) {
	t.Helper()
	if got, err := codec.Msgpack[T]().Unmarshal([]byte(data)); err == nil {
		t.Errorf("%x decodes as the %T %v", data, got, got)
	}
}

func TestHostileJSONFailsInLittleMemory(t *testing.T) {
	for name, data := range map[string]string{
		"2 MB of [":           strings.Repeat("[", 2e6),
		"2 MB of nested maps": strings.Repeat(`{"skills":`, 2e5),
		"deep unknown field":  `{"x":` + strings.Repeat("[", 1e6) + strings.Repeat("]", 1e6) + "}",
	} {
		const budget = 6 << 20 // three times the input
		checkFailsCheaply(t, name, budget, func() error {
			_, err := codec.JSON[skills.List]().Unmarshal([]byte(data))
			return err
		})
	}
}

// sparse takes 768 bytes of memory. A zero sparse is encoded as one byte.
type sparse struct {
	A, B, C, D, E, F, G, H struct {
		P, Q, R, S []string `json:",omitempty" msgpack:",omitempty"`
	} `json:",omitzero" msgpack:",omitempty"`
}

// Unmarshal decodes all bytes that Marshal returns. For all other values Marshal returns
// ErrTooLarge.
func TestAValueThatTakesTooMuchMemoryToDecodeIsNotWritten(t *testing.T) {
	_, err := codec.Msgpack[[]sparse]().Marshal(make([]sparse, 100_000))
	if !errors.Is(err, codec.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	pointers, maps := make([]*sparse, 41_000), make([]map[int8][8]string, 15_000)
	for i := range pointers {
		pointers[i] = &sparse{}
	}
	for i := range maps {
		maps[i] = map[int8][8]string{1: {}}
	}
	numbered := map[uint16][]string{}
	for i := range 1 << 16 {
		numbered[uint16(i)] = nil
	}
	const n = 20_000
	checkReadIfWritten(t, pointers)
	checkReadIfWritten(t, maps)
	checkReadIfWritten(t, numbered)
	checkReadIfWritten(t, make([]sparse, n/10))
	checkReadIfWritten(t, make([]string, n))
	checkReadIfWritten(t, make([][]int, n))
	checkReadIfWritten(t, make([]struct{}, n))
	checkReadIfWritten(t, make([]map[string]string, n))
	checkReadIfWritten(t, make([][16]string, n/10))
	checkReadIfWritten(t, make([]*skills.Skill, n))
	checkReadIfWritten(t, make([]skills.LocalSkill, n/10))
	checkReadIfWritten(t, make([]skills.Model, n/10))
}

func checkReadIfWritten[T any](t *testing.T, v T) {
	t.Helper()
	for _, c := range both[T]() {
		encoded, err := c.Marshal(v)
		if err == nil {
			_, err = c.Unmarshal(encoded)
		}
		if err != nil && (encoded != nil || !errors.Is(err, codec.ErrTooLarge)) {
			t.Errorf("%s, %T: %v", c.Name(), v, err)
		}
	}
}

func TestMarshalSortsMapsOnly(t *testing.T) {
	type table struct {
		Columns map[string]int
		Cells   []int8
	}
	v := table{map[string]int{"a": 0, "b": 1}, make([]int8, 1e6)}
	c := codec.Msgpack[table]()
	var err error
	if took := allocated(func() { _, err = c.Marshal(v) }); took > 16e6 || err != nil {
		t.Errorf("a list of a million numbers beside a map takes %d bytes, %v", took, err)
	}
}

func TestAValueTooDeepToReadIsNotWritten(t *testing.T) {
	chain := func(n int) kids {
		var top kids
		for range n {
			below := top
			top = kids{Next: &below}
		}
		return top
	}
	cycle := kids{}
	cycle.Next = &cycle
	for _, c := range both[kids]() {
		for _, v := range []kids{chain(2000), cycle} {
			if _, err := c.Marshal(v); err == nil || !strings.Contains(err.Error(), "nested") {
				t.Errorf("%s: got %v, want an error about nesting", c.Name(), err)
			}
		}
	}
	checkRoundTrip(t, chain(400))
	type deep struct {
		Next *deep
		V    struct{ A struct{ B []int } }
	}
	bottom := deep{}
	bottom.V.A.B = []int{1}
	for range 499 { // the levels inside V are not counted
		below := bottom
		bottom = deep{Next: &below}
	}
	checkRoundTrip(t, bottom)
}

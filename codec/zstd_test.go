package codec_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/skills"
)

func zstdOf(options *codec.ZstdOptions) codec.Codec[skills.List] {
	return codec.Zstd(codec.Msgpack[skills.List](), options)
}

func longList(n int) skills.List {
	l := fullList
	for range n {
		l.Skills = append(l.Skills, fullList.Skills[0])
	}
	return l
}

func TestZstdCarriesSmallAndLargePayloads(t *testing.T) {
	for _, want := range []skills.List{{}, fullList, longList(10), longList(10_000)} {
		plain, err := codec.Msgpack[skills.List]().Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		c := zstdOf(nil)
		encoded, err := c.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) < 1<<10 && len(encoded) != len(plain)+1 {
			t.Errorf("%d bytes were stored as %d, want one byte more", len(plain), len(encoded))
		}
		if len(plain) >= 1<<10 && len(encoded) > len(plain)/4 {
			t.Errorf("%d bytes became %d, want at most a quarter", len(plain), len(encoded))
		}
		if again, _ := c.Marshal(want); !bytes.Equal(again, encoded) {
			t.Error("one payload was written in two ways")
		}
		got, err := c.Unmarshal(encoded)
		if diff := cmp.Diff(want, got, same); err != nil || diff != "" {
			t.Errorf("%v, (-want +got):\n%s", err, diff)
		}
	}
}

func TestZstdCarriesEverySize(t *testing.T) {
	for _, options := range []codec.ZstdOptions{{MinSize: 1}, {MinSize: 1, MaxSize: 2000}} {
		c := codec.Zstd(codec.JSON[string](), &options)
		for size := range 1500 {
			want := strings.Repeat("a", size)
			encoded, err := c.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Unmarshal(encoded); err != nil || got != want {
				t.Fatalf("%+v, %d bytes: %v", options, size, err)
			}
		}
	}
}

func TestZstdRefusesBytesAfterTheFrame(t *testing.T) {
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}
	long := string(randomBytes(5000)) + strings.Repeat("a", 200_000)
	for _, want := range []string{strings.Repeat("a", 5000), long} {
		c := codec.Zstd(codec.Msgpack[string](), nil)
		encoded, err := c.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Unmarshal(encoded); err != nil || got != want {
			t.Errorf("%d bytes came back changed (%v)", len(want), err)
		}
		for _, more := range [][]byte{skippable, encoded[1:], {0}} {
			if _, err := c.Unmarshal(append(bytes.Clone(encoded), more...)); err == nil {
				t.Errorf("it accepts %d bytes with %x after them", len(encoded), more)
			}
		}
	}
}

func TestZstdStoresRandomBytesUncompressed(t *testing.T) {
	random := strings.Repeat("0", 10) + string(randomBytes(100_000))
	c := codec.Zstd(codec.Msgpack[string](), nil)
	encoded, err := c.Marshal(random)
	if err != nil || len(encoded) > len(random)+6 {
		t.Errorf("%d random bytes were stored as %d (%v)", len(random), len(encoded), err)
	}
	if got, err := c.Unmarshal(encoded); err != nil || got != random {
		t.Errorf("the random bytes came back changed (%v)", err)
	}
}

func TestZstdRefusesPayloadsOverItsLimit(t *testing.T) {
	c := codec.Zstd(codec.Msgpack[string](), &codec.ZstdOptions{MinSize: 1, MaxSize: 1000})
	if _, err := c.Marshal(strings.Repeat("a", 1000)); !errors.Is(err, codec.ErrTooLarge) {
		t.Errorf("marshal: got %v, want ErrTooLarge", err)
	}
	encoded, err := codec.Zstd(codec.Msgpack[string](), nil).Marshal(strings.Repeat("a", 100_000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Unmarshal(encoded); !errors.Is(err, codec.ErrTooLarge) {
		t.Errorf("unmarshal: got %v, want ErrTooLarge", err)
	}
}

func TestInvalidZstdCodecsAreRefused(t *testing.T) {
	for what, c := range map[string]codec.Codec[any]{
		"a type that the inner codec refuses": codec.Zstd(codec.JSON[any](), nil),
		"no inner codec":                      codec.Zstd[any](nil, nil),
	} {
		if codec.Check(c) == nil {
			t.Errorf("%s passed", what)
		}
	}
	for what, c := range map[string]codec.Codec[int]{
		"a negative size": codec.Zstd(codec.JSON[int](), &codec.ZstdOptions{MaxSize: -1}),
		"a size over 512 MiB": codec.Zstd(codec.JSON[int](),
			&codec.ZstdOptions{MaxSize: 512<<20 + 1}),
		"Zstd around Sealed": codec.Zstd(codec.Sealed(codec.JSON[int](), testKeys), nil),
	} {
		if codec.Check(c) == nil {
			t.Errorf("%s passed", what)
		}
		if _, err := c.Marshal(1); err == nil {
			t.Errorf("%s was used", what)
		}
	}
}

// expands returns a frame of n zeros. Its header does not declare the size.
func expands(n int64) []byte {
	var frame bytes.Buffer
	w := must(zstd.NewWriter(&frame))
	must(io.CopyN(w, zeros{}, n))
	must(0, w.Close())
	return frame.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bombs are hostile inputs. Each starts with Zstd's first byte.
var bombs = sync.OnceValue(func() map[string][]byte {
	const array32, null = 0xdd, 0xc0
	compress := func(data []byte) []byte {
		w := must(zstd.NewWriter(nil))
		defer w.Close()
		return w.EncodeAll(data, []byte{1})
	}
	small, mebibyte := compress(make([]byte, 1000)), compress(make([]byte, 1<<20))
	unannounced := expands(256 << 20)
	return map[string][]byte{
		"256 MiB of zeros": append([]byte{1}, unannounced...),
		"a header that declares 1 GiB": {1,
			0x28, 0xb5, 0x2f, 0xfd, 0xe4, 0, 0, 0, 0x40, 0, 0, 0, 0, 1, 0, 0},
		"a truncated frame":       small[:len(small)-3],
		"16 MiB of nested arrays": compress(bytes.Repeat([]byte{0x91}, 16<<20-1)),
		"16 million nulls for structs": compress(inList(append(header(array32, 16e6),
			bytes.Repeat([]byte{null}, 16e6)...))),
		"20 million declared elements": compress(inList(header(array32, 20e6))),
		"a thousand frames":            append([]byte{1}, bytes.Repeat(mebibyte[1:], 1000)...),
		"a large second frame":         append(small, unannounced...),
		"an unknown first byte":        {2, 0},
		"no bytes":                     {},
	}
})

const bombBudget = 64 << 20

func TestABombInZstdFailsInLittleMemory(t *testing.T) {
	for name, data := range bombs() {
		checkFailsCheaply(t, name, bombBudget, func() error {
			_, err := zstdOf(nil).Unmarshal(data)
			return err
		})
	}
}

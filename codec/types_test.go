package codec_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// typeTest tests one payload type with one codec.
type typeTest struct {
	name string
	run  func(t *testing.T)
}

const inBoth = "json msgpack"

// carried expects that the codecs support T, and that the values come back equal.
func carried[T any](codecs string, values ...T) []typeTest {
	return withSamples(codecs, nil, values...)
}

// withSamples expects that the codecs support T with samples of the types in it.
func withSamples[T any](codecs string, samples []any, values ...T) []typeTest {
	return each(codecs, samples, func(t *testing.T, c codec.Codec[T]) {
		store, err := newStore(c)
		if err != nil {
			t.Fatal(err)
		}
		var zero T
		for _, v := range append(values, zero) {
			throughStore(t, store, v)
		}
	})
}

// refused expects that the codecs refuse T, with the path in the error.
func refused[T any](codecs, path string) []typeTest {
	return each(codecs, nil, func(t *testing.T, c codec.Codec[T]) {
		_, err := newStore(c)
		path := typeName[T]() + path
		if !errors.Is(err, pending.ErrInvalid) || !strings.Contains(err.Error(), " "+path+": ") {
			t.Errorf("got %v, want ErrInvalid for %s", err, path)
		}
		var zero T
		if _, err := c.Marshal(zero); err == nil {
			t.Error("a refused type was encoded")
		}
		if _, err := c.Unmarshal([]byte("null")); err == nil {
			t.Error("a refused type was decoded")
		}
	})
}

func each[T any](codecs string, samples []any, run func(*testing.T, codec.Codec[T])) []typeTest {
	var tests []typeTest
	for name := range strings.FieldsSeq(codecs) {
		c := codec.JSON[T](samples...)
		if name == "msgpack" {
			c = codec.Msgpack[T](samples...)
		}
		name += "/" + reflect.TypeFor[T]().String()
		tests = append(tests, typeTest{name, func(t *testing.T) { run(t, c) }})
	}
	return tests
}

func typeName[T any]() string {
	if t := reflect.TypeFor[T](); t.Name() == "" {
		return t.String()
	}
	return reflect.TypeFor[T]().Name()
}

func newStore[T any](c codec.Codec[T]) (*pending.PendingStore[T], error) {
	return pending.New(memory.New(), c, pending.Policy{Name: "types",
		PendingTimeout: time.Minute, RunningTimeout: time.Minute, Retention: time.Minute})
}

// throughStore carries a value through Create, PopPending, Complete and Get.
func throughStore[T any](t *testing.T, store *pending.PendingStore[T], want T) {
	t.Helper()
	ctx := context.Background()
	asked, err := store.Create(ctx, "box", want)
	if err != nil {
		t.Errorf("create %+v: %v", want, err)
		return
	}
	popped, err := store.PopPending(ctx, "box")
	if err == nil {
		err = store.Complete(ctx, popped)
	}
	if err != nil {
		t.Error(err)
		return
	}
	got, err := store.Get(ctx, asked.ID)
	if err != nil {
		t.Error(err)
		return
	}
	for _, read := range []T{popped.Payload, got.Payload} {
		if diff := cmp.Diff(want, read, same, exported, byValue); diff != "" {
			t.Errorf("a value came back changed (-want +got):\n%s", diff)
		}
	}
}

var (
	exported = cmp.Exporter(func(t reflect.Type) bool { return t != reflect.TypeFor[big.Int]() })
	byValue  = cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b version) bool { return a.Equal(&b) }),
	}
)

type namedByte byte

func lastOfYear(year int) time.Time {
	return time.Date(year, 12, 31, 23, 59, 59, 999999999, time.UTC)
}

func ptr[T any](v T) *T { return &v }

var (
	berlin1890 = time.Date(1890, 1, 1, 0, 0, 0, 0, time.FixedZone("LMT", 53*60+28))
	newYork    = time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.FixedZone("EDT", -4*3600))
	addr       = netip.MustParseAddr("2001:db8::1%eth0")
	bigOne     = *new(big.Int).Lsh(big.NewInt(-5), 200)
)

var typeTests = slices.Concat(
	// Plain types.
	carried(inBoth, true),
	carried[int8](inBoth, math.MinInt8, -1, math.MaxInt8),
	carried[int64](inBoth, math.MinInt64, math.MaxInt64),
	carried[uint64](inBoth, math.MaxUint64),
	carried[float32](inBoth, math.MaxFloat32, math.SmallestNonzeroFloat32, 0.1),
	carried(inBoth, math.MaxFloat64, math.SmallestNonzeroFloat64, 1.0/3, math.Copysign(0, -1)),
	carried(inBoth, "", "ü \x00 <&> \u2028 \ufffd \\ufffd \""),
	carried(inBoth, []byte{}, []byte{0, 255}),
	carried(inBoth, [4]byte{1, 2, 3, 255}),
	carried(inBoth, [2][3]int{{1, 2, 3}, {4, 5, 6}}),
	carried(inBoth, []string{"a", ""}, []string{}),
	carried(inBoth, [][]int{{1}, {}, nil}),
	carried(inBoth, map[string]int{"b": 1, "a": 2, "": 3}),
	carried(inBoth, map[int8]string{-1: "a", 0: "b"}),
	carried(inBoth, map[level][]bool{"x": {true, false}}),
	carried(inBoth, map[string]map[uint16][]string{"a": {1: {"x"}}}),
	carried(inBoth, time.Hour+1),
	carried(inBoth, ptr(7), nil),
	carried(inBoth, ptr(""), nil),
	carried(inBoth, ptr([2]int{1, 2})),
	carried(inBoth, struct{}{}),
	carried(inBoth, kids{"a", []kids{{Name: "b"}}, &kids{}}),
	carried(inBoth, fullImport, skills.Import{}),
	carried(inBoth, http.Header{"Accept": {"a", "b"}}),
	carried(inBoth, mail.Address{Name: "Ada", Address: "ada@example.com"}),
	carried(inBoth, sql.NullString{String: "x", Valid: true}),
	carried(inBoth, time.March),
	carried(inBoth, struct {
		Base
		C string
	}{Base{"a", "b"}, "c"}),
	carried(inBoth, struct {
		base
		_ struct{}
		C string
	}{base: base{"a", "b"}, C: "c"}),
	carried(inBoth, struct {
		A *string `json:",omitempty" msgpack:",omitempty"`
		B int     `json:",omitempty,string" msgpack:",omitempty"`
		C []int   `json:"-" msgpack:"c,omitempty"`
		D Base    `json:",omitzero" msgpack:",omitempty"`
	}{ptr(""), 7, []int{0}, Base{"x", ""}}),
	carried(inBoth, json.RawMessage(`{"a":[1,2.50,null,"<ü>"]}`)),
	carried(inBoth, map[string]json.RawMessage{"a": json.RawMessage("1")}),
	carried("msgpack", json.RawMessage("not JSON")),
	carried("msgpack", json.Number("1.50")),
	refused[json.Number]("json", ""), // an empty one is written as 0
	carried("msgpack", math.Inf(-1)),
	carried("msgpack", "\xff"),

	// Times.
	carried(inBoth, newYork, time.Unix(0, 1), lastOfYear(9999)),
	carried("msgpack", berlin1890, lastOfYear(-9999), lastOfYear(12345)),
	carried(inBoth, map[string]time.Time{"a": newYork}),
	carried(inBoth, []*time.Time{&newYork, nil, {}}),
	carried(inBoth, struct {
		T time.Time `json:",omitzero" msgpack:",omitempty"`
	}{newYork}),
	carried(inBoth, Stamp{newYork}, Stamp{}),
	refused[struct{ T stampNumber }](inBoth, ".T.wall"),
	refused[struct {
		T *time.Time `json:",omitzero" msgpack:",omitempty"` // leaves out a pointer to a zero time
	}](inBoth, ".T"),
	refused[zoned](inBoth, ".Zone"),

	// Types with methods that lose nothing.
	carried(inBoth, bigOne, *big.NewInt(0)),
	carried(inBoth, []*big.Int{&bigOne, nil, {}}),
	carried(inBoth, map[string]*big.Int{"a": &bigOne}),
	carried(inBoth, []big.Int{bigOne}),
	refused[struct{ R *big.Rat }](inBoth, ".R"), // a few bytes of text can be a number of megabytes
	carried(inBoth, addr, netip.MustParseAddr("::ffff:1.2.3.4")),
	carried(inBoth, map[string]netip.Addr{"a": addr}),
	carried(inBoth, netip.MustParsePrefix("10.0.0.0/8")),
	carried(inBoth, netip.MustParseAddrPort("[2001:db8::1%eth0]:443")),
	carried(inBoth, uuid.MustParse("0d5c7cbe-93a5-4c4c-a2f3-d9a3f6e7c0a1")),
	carried(inBoth, []net.IP{net.IPv4(1, 2, 3, 4), net.IPv6loopback}),
	carried(inBoth, net.IPNet{IP: net.IPv4(10, 0, 0, 0), Mask: net.CIDRMask(8, 32)}),
	carried(inBoth, slog.LevelWarn+1, slog.Level(-100)),
	carried(inBoth, shade(0), shade(2)),
	carried(inBoth, []shade{1, 2}),
	carried(inBoth, map[string]shade{"a": 2}),
	carried(inBoth, struct{ S shade }{1}),
	carried(inBoth, point{1, -2}),
	carried(inBoth, struct{ P *point }{&point{3, 4}}),
	carried("json", []byteShade{1, 2}),
	carried(inBoth, neverNine(8)),
	carried("json", url.Values{"a": {"b"}}),

	// Types with methods that only samples prove.
	refused[account](inBoth, ""),
	withSamples(inBoth, []any{account{"1"}}, account{"22"}),
	withSamples(inBoth, []any{account{"1"}}, map[string][]*account{"b": {{"2"}, {"3"}}}),
	refused[struct{ Size size }](inBoth, ".Size"),
	withSamples(inBoth, []any{size("S")}, struct{ Size size }{"L"}),
	refused[optional](inBoth, ".Value"),
	withSamples(inBoth, []any{optional{"x", true}, optional{}}, optional{"", true}),
	withSamples(inBoth, []any{session{time.Now()}}, session{newYork}, session{time.Now()}),
	withSamples(inBoth, []any{sessions{map[string]session{"a": {newYork}}}},
		sessions{map[string]session{"b": {time.Now()}, "c": {newYork}}}),
	withSamples(inBoth, []any{&version{"v1"}}, version{"1"}, version{"v2"}),

	// Types that behave differently in other versions of Go.
	refused[struct {
		S string `json:",string"`
	}]("json", ".S"),
	refused[struct {
		S *string `json:",string"`
	}]("json", ".S"),
	refused[struct {
		S string `json:"a b"`
	}]("json", ".S"),
	refused[struct{ A []appender }]("json", ".A[]"),
	refused[struct{ N newText }]("json", ".N"),
	refused[map[string]newJSON]("json", "[]"),
	refused[map[newJSON]string]("json", ""),

	// Types that lose something.
	refused[any](inBoth, ""),
	refused[map[string]any](inBoth, "[]"),
	refused[struct{ E error }](inBoth, ".E"),
	refused[struct{ a int }](inBoth, ".a"),
	refused[nested]("json", ".List[].Hidden"),
	refused[hiddenEverywhere]("msgpack", ".In.X"),
	refused[sameName](inBoth, ".Base.A"),
	refused[uintptr](inBoth, ""),
	refused[struct {
		A string `msgpack:",intern"`
	}]("msgpack", ".A"),
	refused[func()](inBoth, ""),
	refused[struct{ C chan int }](inBoth, ".C"),
	refused[complex64](inBoth, ""),
	refused[map[Base]int](inBoth, ""),
	refused[map[bool]int](inBoth, ""),
	refused[map[float64]int](inBoth, ""),
	refused[**int](inBoth, ""),
	refused[*map[string]int](inBoth, ""),
	refused[*json.RawMessage](inBoth, ""),
	refused[struct{ *Base }](inBoth, ".Base"),
	refused[struct{ F big.Float }](inBoth, ".F"),
	refused[struct {
		A netip.Addr `msgpack:",omitempty"`
	}]("msgpack", ".A"),
	refused[struct {
		A netip.Prefix `msgpack:",omitempty"`
	}]("msgpack", ".A"),
	refused[struct {
		Z zeroAtTen `json:",omitzero" msgpack:",omitempty"`
	}](inBoth, ".Z"),
	refused[struct{ U url.URL }]("json", ".U.User.username"),
	refused[struct{ U url.URL }]("msgpack", ".U"),
	refused[*url.URL]("msgpack", ""),
	refused[map[string]big.Int](inBoth, "[]"),
	refused[map[string][2]big.Rat](inBoth, "[][]"),
	refused[map[string]struct{ I big.Int }](inBoth, "[].I"),
	refused[map[lower]int](inBoth, ""),
	refused[map[shade]int](inBoth, ""),
	refused[withShade](inBoth, ".Note"),
	refused[struct{ W *withShade }](inBoth, ".W.Note"),
	refused[struct {
		*big.Int
		Note string
	}](inBoth, ""),
	refused[lower](inBoth, ""),
	refused[struct{ R []rounded }](inBoth, ".R[]"),
	refused[oneWay](inBoth, ""),
	refused[[]halfByte](inBoth, "[]"),
	refused[map[string]alwaysFails](inBoth, "[]"),
	refused[struct{ P panics }](inBoth, ".P"),
	refused[struct{ U unread }](inBoth, ".U"),
	refused[struct{ F forgetful }]("json", ".F.Lost"),
	refused[forgetful]("json", ".Lost"),
	refused[struct {
		A [200][100]int
		N []json.Number
	}]("json", ".N[]"),
	refused[struct{ M map[string][4]namedByte }]("msgpack", ".M[]"),
	refused[secretTree]("json", ".Secret"),
	carried("msgpack", secretTree{"a", &secretTree{Secret: "b"}}),
	refused[shouting](inBoth, ""),
	refused[unsteady](inBoth, ""),
	refused[struct {
		T zeroAtTen `msgpack:"omitempty:1"`
	}]("msgpack", ".T"),
	refused[struct {
		A string `msgpack:"intern:1"`
	}]("msgpack", ".A"),
	refused[struct {
		A string `json:",format:x"`
	}]("json", ".A"),
)

func TestEachTypeIsRefusedOrComesBackEqual(t *testing.T) {
	for _, test := range typeTests {
		t.Run(test.name, test.run)
	}
}

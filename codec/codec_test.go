package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/skills"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both returns the two codecs of a type.
func both[T any]() []codec.Codec[T] {
	return []codec.Codec[T]{codec.JSON[T](), codec.Msgpack[T]()}
}

// same compares values. It ignores the differences that a codec may make.
var same = cmp.Options{
	cmp.Comparer(func(a, b big.Int) bool { return a.Cmp(&b) == 0 }),
	cmp.FilterPath(isRawJSON, cmp.Comparer(func(a, b json.RawMessage) bool { return value(a) == value(b) })),
	cmp.FilterPath(func(p cmp.Path) bool { return !isRawJSON(p) }, cmpopts.EquateEmpty()),
}

func isRawJSON(p cmp.Path) bool { return p.Last().Type() == reflect.TypeFor[json.RawMessage]() }

// value is what raw JSON says: nil is null, and white space between tokens says nothing.
func value(raw json.RawMessage) string {
	var compact bytes.Buffer
	switch {
	case raw == nil:
		return "null"
	case json.Compact(&compact, raw) != nil:
		return string(raw)
	}
	return compact.String()
}

// checkRoundTrip encodes and decodes a value with both codecs.
func checkRoundTrip[T any](t *testing.T, want T) {
	t.Helper()
	for _, c := range both[T]() {
		if err := codec.Check(c); err != nil {
			t.Errorf("%s refuses %T: %v", c.Name(), want, err)
			continue
		}
		encoded, err := c.Marshal(want)
		if err != nil {
			t.Errorf("%s: marshal: %v", c.Name(), err)
			continue
		}
		got, err := c.Unmarshal(encoded)
		if err != nil {
			t.Errorf("%s: unmarshal: %v", c.Name(), err)
			continue
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("%s: a value came back changed (-want +got):\n%s", c.Name(), diff)
		}
		again, err := c.Marshal(got)
		if err != nil || string(again) != string(encoded) {
			t.Errorf("%s: the same value was written as %q and as %q (%v)", c.Name(), encoded, again, err)
		}
	}
}

var (
	at            = time.Date(2026, 11, 23, 12, 30, 0, 123456789, time.UTC)
	fullOmissions = skills.Omissions{LeftOutCount: 2,
		LeftOut: []skills.Omission{{Key: "k", Path: "~/s/x.png", Reason: "not a text file"}}}
	fullImport = skills.Import{
		SkillKey: "release-notes", Name: "Notes <&>", Description: "ü \u2028 \x00", Action: skills.ActionOverwrite,
		TargetSkillID: "0d5c7cbe-93a5-4c4c-a2f3-d9a3f6e7c0a1", SupportsConflict: true, CreatorID: "user-1",
		Skill: &skills.Skill{ID: "1", WorkspaceID: "w", Name: "n", Description: "d", Content: "# c\n",
			Config: json.RawMessage(`{"a":[1,2.5e300,null,"<b>"]}`), CreatedBy: "user-1", CreatedAt: at, UpdatedAt: at,
			Files: []skills.SkillFile{{ID: "f", SkillID: "1", Path: "a/b.md", Content: "x\ufffdy",
				CreatedAt: at, UpdatedAt: at}}},
		Omissions: fullOmissions,
		Conflict:  &skills.Conflict{ExistingSkillID: "2", ExistingCreatedBy: "user-2", CanOverwrite: true},
	}
	fullList = skills.List{
		Skills: []skills.LocalSkill{{Key: "k", Name: "n", Description: "d", SourcePath: "~/s", Provider: "claude",
			Root: "universal", Plugin: "p", CanDisable: true, FileCount: 3}},
		Supported: true, MCPServers: []skills.MCPServer{{Name: "m", Transport: "stdio", Source: "s", Enabled: true}},
		MCPSupported: true, Omissions: fullOmissions,
	}
	fullModels = skills.ModelList{Supported: true, Cached: true, CachedAt: &at, Fallback: true, Models: []skills.Model{{ID: "m", Label: "M", Provider: "p", Default: true,
		Thinking: &skills.Thinking{DefaultLevel: "low", SupportedLevels: []skills.ThinkingLevel{{Value: "low", Label: "Low",
			Description: "d"}}},
		ServiceTiers: []skills.ServiceTier{{ID: "t", Name: "T", Description: "d"}}}}}
)

func TestPayloadsOfTheFiveStoresRoundTrip(t *testing.T) {
	checkRoundTrip(t, fullList)
	checkRoundTrip(t, skills.NewList())
	checkRoundTrip(t, fullImport)
	checkRoundTrip(t, skills.Import{SkillKey: "k", CreatorID: "user-1"})
	checkRoundTrip(t, skills.Ping{Output: "pong", DurationMS: math.MaxInt64})
	checkRoundTrip(t, skills.Update{TargetVersion: "1.2.3", Output: "done", InitiatorID: "user-1"})
	checkRoundTrip(t, fullModels)
	checkRoundTrip(t, skills.NewModelList())
}

// A field that the values above leave zero proves nothing.
func TestTheValuesAboveLeaveNoFieldZero(t *testing.T) {
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is zero", path)
		}
		switch v.Kind() {
		case reflect.Pointer:
			walk(path, v.Elem())
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Struct {
				walk(path+"[]", v.Index(0))
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	for _, payload := range []any{fullImport, fullList, fullModels} {
		walk(reflect.TypeOf(payload).Name(), reflect.ValueOf(payload))
	}
}

type (
	base  struct{ A, B string }
	level string
	kids  struct {
		Name string
		Kids []kids
		Next *kids
	}
	unusual struct {
		Base
		Ints    map[int8]string
		Strings map[string][]map[string]int
		Levels  map[level]*level
		Bytes   []byte
		Array   [3]uint16
		Hash    [4]byte
		Floats  []float32
		Big     *big.Int
		When    map[string]time.Time
		Since   time.Duration
		Max     uint64
		Min     int64
		Rune    rune
		Bool    *bool
		Quoted  int    `json:",string"`
		Secret  string `json:"-"`
		Tagged  string `json:"t,omitempty" msgpack:"u,omitempty"`
	}
)

// Base is exported, as an embedded struct has to be.
type Base struct{ A, B string }

func TestUnusualTypesRoundTrip(t *testing.T) {
	yes, low := true, level("low")
	checkRoundTrip(t, unusual{
		Base: Base{"a", "b"}, Ints: map[int8]string{-1: "x", 2: "y", 3: "z"},
		Strings: map[string][]map[string]int{"a": {{"x": 1, "y": 2}, nil}, "b": nil},
		Levels:  map[level]*level{"l": &low, "nil": nil}, Bytes: []byte{0, 255, '\n'}, Array: [3]uint16{1, 2, 3},
		Hash: [4]byte{1, 2, 3, 4}, Floats: []float32{1.5, -0.1, math.MaxFloat32}, Big: big.NewInt(math.MinInt64),
		When: map[string]time.Time{"now": at, "zero": {}}, Since: -time.Hour, Max: math.MaxUint64, Min: math.MinInt64,
		Rune: '\U0001F600', Bool: &yes, Quoted: 7, Secret: "s", Tagged: "t",
	})
	checkRoundTrip(t, unusual{Big: new(big.Int)})
	checkRoundTrip(t, kids{"a", []kids{{"b", nil, nil}, {}}, &kids{"c", nil, &kids{}}})
	checkRoundTrip(t, "text")
	checkRoundTrip(t, 42)
	checkRoundTrip(t, []string{"a", "", "b"})
	checkRoundTrip(t, map[string]string{"b": "1", "a": "2", "c": "3"})
	checkRoundTrip(t, &base{"a", "b"})
	checkRoundTrip(t, (*base)(nil))
	checkRoundTrip(t, struct{}{})
	checkRoundTrip(t, time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC))
}

func TestMapsAreWrittenInOneOrder(t *testing.T) {
	value := map[string]map[int]string{}
	for i := range 50 {
		value[fmt.Sprint("key ", i)] = map[int]string{i: "a", -i - 1: "b", 1000 * (i + 1): "c"}
	}
	for _, c := range both[map[string]map[int]string]() {
		first, _ := c.Marshal(value)
		for range 20 {
			if again, err := c.Marshal(value); err != nil || string(again) != string(first) {
				t.Fatalf("%s wrote one value in two ways (%v)", c.Name(), err)
			}
		}
	}
}

type (
	nested struct {
		List []struct {
			Hidden string `json:"-"`
		}
	}
	hiddenEverywhere struct {
		In struct {
			X string `msgpack:"-"`
		}
	}
	sameName struct {
		A string
		Base
	}
	forgetful struct{ Kept, Lost string }
	oneWay    struct{ X string }
)

func (f forgetful) MarshalJSON() ([]byte, error)     { return json.Marshal(f.Kept) }
func (f *forgetful) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &f.Kept) }
func (oneWay) MarshalText() ([]byte, error)          { return nil, nil }

func TestJSONDoesNotEscapeHTMLAndKeepsPublicNames(t *testing.T) {
	encoded, err := codec.JSON[skills.Update]().Marshal(skills.Update{TargetVersion: "<1&2>", InitiatorID: "u"})
	if want := `{"target_version":"<1&2>","-InitiatorID":"u"}`; err != nil || string(encoded) != want {
		t.Errorf("got %s (%v), want %s", encoded, err, want)
	}
}

func TestRawJSONKeepsItsValue(t *testing.T) {
	spaced := skills.Skill{Config: json.RawMessage(" { \"a\" : 1 } ")}
	fromJSON := carry(t, codec.JSON[skills.Skill](), spaced)
	if got := string(fromJSON.Config); got != `{"a":1}` {
		t.Errorf("JSON: got %s", got)
	}
	if got := string(carry(t, codec.JSON[skills.Skill](), skills.Skill{}).Config); got != "null" {
		t.Errorf("JSON: nil came back as %q, want null", got)
	}
	fromMsgpack := carry(t, codec.Msgpack[skills.Skill](), spaced)
	if got := string(fromMsgpack.Config); got != string(spaced.Config) {
		t.Errorf("msgpack: got %q", got)
	}
}

func carry[T any](t *testing.T, c codec.Codec[T], v T) T {
	t.Helper()
	encoded, err := c.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Unmarshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWhatJSONCannotHoldIsAnError(t *testing.T) {
	for _, tc := range []struct {
		value skills.Import
		want  string
	}{
		{skills.Import{SkillKey: "\xff"}, "Import.SkillKey"},
		{skills.Import{Skill: &skills.Skill{Config: json.RawMessage("1"), Files: []skills.SkillFile{{Content: "a\xc3"}}}},
			"Import.Skill.Files[].Content"},
	} {
		if _, err := codec.JSON[skills.Import]().Marshal(tc.value); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want an error about %s", err, tc.want)
		}
	}
	if _, err := codec.JSON[map[string]string]().Marshal(map[string]string{"\xff": ""}); err == nil {
		t.Error("a key that is not UTF-8 was written")
	}
	if _, err := codec.JSON[float64]().Marshal(math.NaN()); err == nil {
		t.Error("NaN was written")
	}
	checkRoundTrip(t, "these are UTF-8: \ufffd \\ufffd")
}

func TestErrorsDoNotQuoteThePayload(t *testing.T) {
	const secret = "hunter2"
	type payload struct {
		When  time.Time
		Count int8
		Level *level
	}
	for _, data := range []string{
		`{"When":"hunter2"}`, `{"Count":"hunter2"}`, `{"Count":31337}`, `{"hunter2`, `hunter2`, `{"When":"2026"}hunter2`,
	} {
		_, err := codec.JSON[payload]().Unmarshal([]byte(data))
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "31337") {
			t.Errorf("%s: got %v, want an error that does not quote it", data, err)
		}
		if errors.Unwrap(err) == nil {
			t.Errorf("%s: the cause of %v is lost", data, err)
		}
	}
	if _, err := codec.Msgpack[time.Time]().Unmarshal([]byte("\xa7" + secret)); err == nil ||
		strings.Contains(err.Error(), secret) {
		t.Errorf("text for a time: got %v, want an error that does not quote it", err)
	}
	_, err := codec.Msgpack[struct{ X picky }]().Unmarshal([]byte("\x81\xa1X\xc4\x07hunter2"))
	if err == nil || strings.Contains(err.Error(), secret) || errors.Unwrap(err) == nil {
		t.Errorf("msgpack: got %v, want an error that wraps its cause and does not quote it", err)
	}
}

// picky rejects any text. Its error quotes the text.
type picky struct{}

func (picky) MarshalText() ([]byte, error)     { return []byte("x"), nil }
func (*picky) UnmarshalText(text []byte) error { return fmt.Errorf("bad value %q", text) }

func TestWhatFollowsTheValueIsRefused(t *testing.T) {
	for _, c := range both[skills.Ping]() {
		encoded, _ := c.Marshal(skills.Ping{Output: "x"})
		if _, err := c.Unmarshal(append(encoded, encoded...)); err == nil {
			t.Errorf("%s reads one of two values", c.Name())
		}
		for n := range encoded {
			if _, err := c.Unmarshal(encoded[:n]); err == nil {
				t.Errorf("%s reads the first %d of %d bytes", c.Name(), n, len(encoded))
			}
		}
	}
}

func TestNewerAndOlderFieldsAreTolerated(t *testing.T) {
	type older struct{ A string }
	type newer struct {
		A string
		B map[string][]int
		C *newerStill
	}
	full := newer{"a", map[string][]int{"x": {1, 2}}, &newerStill{D: []string{"d"}}}
	fromNewer, _ := codec.Msgpack[newer]().Marshal(full)
	if got, err := codec.Msgpack[older]().Unmarshal(fromNewer); err != nil || got.A != "a" {
		t.Errorf("an older node reads %v (%v)", got, err)
	}
	fromOlder, _ := codec.Msgpack[older]().Marshal(older{"a"})
	if got, err := codec.Msgpack[newer]().Unmarshal(fromOlder); err != nil || got.A != "a" || got.B != nil {
		t.Errorf("a newer node reads %v (%v)", got, err)
	}
}

type newerStill struct{ D []string }

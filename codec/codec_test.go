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
	cmp.FilterPath(isRawJSON, cmp.Comparer(sameRawJSON)),
	cmp.FilterPath(func(p cmp.Path) bool { return !isRawJSON(p) }, cmpopts.EquateEmpty()),
}

func isRawJSON(p cmp.Path) bool { return p.Last().Type() == reflect.TypeFor[json.RawMessage]() }

func sameRawJSON(a, b json.RawMessage) bool { return compact(a) == compact(b) }

// compact removes white space between the tokens of raw JSON. It returns null for nil.
func compact(raw json.RawMessage) string {
	var compacted bytes.Buffer
	switch {
	case raw == nil:
		return "null"
	case json.Compact(&compacted, raw) != nil:
		return string(raw)
	}
	return compacted.String()
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
			t.Errorf("%s: one value was written as %q and as %q (%v)",
				c.Name(), encoded, again, err)
		}
	}
}

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

func TestUnusualTypesRoundTrip(t *testing.T) {
	yes, low := true, level("low")
	checkRoundTrip(t, unusual{
		Base:    Base{"a", "b"},
		Ints:    map[int8]string{-1: "x", 2: "y", 3: "z"},
		Strings: map[string][]map[string]int{"a": {{"x": 1, "y": 2}, nil}, "b": nil},
		Levels:  map[level]*level{"l": &low, "nil": nil},
		Bytes:   []byte{0, 255, '\n'},
		Array:   [3]uint16{1, 2, 3},
		Hash:    [4]byte{1, 2, 3, 4},
		Floats:  []float32{1.5, -0.1, math.MaxFloat32},
		Big:     big.NewInt(math.MinInt64),
		When:    map[string]time.Time{"now": at, "zero": {}},
		Since:   -time.Hour,
		Max:     math.MaxUint64,
		Min:     math.MinInt64,
		Rune:    '\U0001F600',
		Bool:    &yes,
		Quoted:  7,
		Secret:  "s",
		Tagged:  "t",
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

func TestJSONDoesNotEscapeHTMLAndKeepsPublicNames(t *testing.T) {
	c := codec.JSON[skills.Update]()
	encoded := string(must(c.Marshal(skills.Update{TargetVersion: "<1&2>", InitiatorID: "u"})))
	if want := `{"target_version":"<1&2>","-InitiatorID":"u"}`; encoded != want {
		t.Errorf("got %s, want %s", encoded, want)
	}
}

func TestRawJSONKeepsItsValue(t *testing.T) {
	spaced := skills.Skill{Config: json.RawMessage(" { \"a\" : 1 } ")}
	fromJSON := carry(codec.JSON[skills.Skill](), spaced)
	if got := string(fromJSON.Config); got != `{"a":1}` {
		t.Errorf("JSON: got %s", got)
	}
	if got := string(carry(codec.JSON[skills.Skill](), skills.Skill{}).Config); got != "null" {
		t.Errorf("JSON: nil came back as %q, want null", got)
	}
	fromMsgpack := carry(codec.Msgpack[skills.Skill](), spaced)
	if got := string(fromMsgpack.Config); got != string(spaced.Config) {
		t.Errorf("msgpack: got %q", got)
	}
}

// carry encodes and decodes a value.
func carry[T any](c codec.Codec[T], v T) T { return must(c.Unmarshal(must(c.Marshal(v)))) }

func TestAValueThatJSONCannotHoldIsAnError(t *testing.T) {
	files := []skills.SkillFile{{Content: "a\xc3"}}
	for want, value := range map[string]skills.Import{
		"Import.SkillKey": {SkillKey: "\xff"},
		"Import.Skill.Files[].Content": {
			Skill: &skills.Skill{Config: json.RawMessage("1"), Files: files}},
	} {
		_, err := codec.JSON[skills.Import]().Marshal(value)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
	notUTF8 := map[string]string{"\xff": ""}
	if _, err := codec.JSON[map[string]string]().Marshal(notUTF8); err == nil {
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
	check := func(data string, err error) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), secret) ||
			strings.Contains(err.Error(), "31337") {
			t.Errorf("%q: got %v, want an error that does not quote the payload", data, err)
		}
	}
	for _, data := range []string{
		`{"When":"hunter2"}`,
		`{"Count":"hunter2"}`,
		`{"Count":31337}`,
		`{"hunter2`,
		`hunter2`,
		`{"When":"2026"}hunter2`,
	} {
		_, err := codec.JSON[payload]().Unmarshal([]byte(data))
		check(data, err)
		if errors.Unwrap(err) == nil {
			t.Errorf("%s: got %v, want an error that wraps its cause", data, err)
		}
	}
	textForATime := "\xa7" + secret
	_, err := codec.Msgpack[time.Time]().Unmarshal([]byte(textForATime))
	check(textForATime, err)
	bytesForText := "\x81\xa1X\xc4\x07hunter2"
	_, err = codec.Msgpack[struct{ X picky }]().Unmarshal([]byte(bytesForText))
	check(bytesForText, err)
	if errors.Unwrap(err) == nil {
		t.Errorf("msgpack: got %v, want an error that wraps its cause", err)
	}
}

// picky rejects any text. Its error quotes the text.
type picky struct{}

func (picky) MarshalText() ([]byte, error)     { return []byte("x"), nil }
func (*picky) UnmarshalText(text []byte) error { return fmt.Errorf("bad value %q", text) }

func TestTrailingAndMissingBytesAreRefused(t *testing.T) {
	for _, c := range both[skills.Ping]() {
		encoded, _ := c.Marshal(skills.Ping{Output: "x"})
		if _, err := c.Unmarshal(append(encoded, encoded...)); err == nil {
			t.Errorf("%s accepts a second value after the first", c.Name())
		}
		for n := range encoded {
			if _, err := c.Unmarshal(encoded[:n]); err == nil {
				t.Errorf("%s accepts the first %d of %d bytes", c.Name(), n, len(encoded))
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
	got, err := codec.Msgpack[newer]().Unmarshal(fromOlder)
	if err != nil || got.A != "a" || got.B != nil {
		t.Errorf("a newer node reads %v (%v)", got, err)
	}
}

type newerStill struct{ D []string }

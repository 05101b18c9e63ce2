package codec_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/codec"
)

type hidden struct {
	Secret string `json:"-"`
}

func TestARefusalSaysWhatToDo(t *testing.T) {
	type named struct {
		time.Time
		Name string
	}
	for err, advice := range map[error]string{
		codec.Check(codec.JSON[any]()):                           "json.RawMessage",
		codec.Check(codec.JSON[account]()):                       "samples of codec_test.account",
		codec.Check(codec.JSON[map[string]big.Int]()):            "*Int",
		codec.Check(codec.Msgpack[struct{ A map[string]any }]()): "json.RawMessage",

		codec.Check(codec.JSON[named]()):         "; give the embedded time.Time a field name",
		codec.Check(codec.Msgpack[named]()):      "; give the embedded time.Time a field name",
		codec.Check(codec.JSON[[]zoned]()):       "; give the embedded time.Time a field name",
		codec.Check(codec.JSON[zoned](sample)):   "; give the embedded time.Time a field name",
		codec.Check(codec.Msgpack[withShade]()):  "embedded codec_test.shade a field name",
		codec.Check(codec.JSON[*hidden]()):       "codec_test.hidden instead of *codec_test.hidden",
		codec.Check(codec.JSON[[]hidden]()):      "only a struct that is the whole payload",
		codec.Check(codec.JSON[rounded]()):       "; pass the codec samples of codec_test.rounded",
		codec.Check(codec.JSON[wrapped[size]]()): ".V: there is no valid value other than zero",
	} {
		if err == nil || !strings.Contains(err.Error(), advice) {
			t.Errorf("got %v, want advice with %q", err, advice)
		}
	}
}

var sample = zoned{time.Unix(1, 0), "here"}

type wrapped[T any] struct{ V T }

func TestNoFurtherSamplesAreAskedFor(t *testing.T) {
	for _, err := range []error{
		codec.Check(codec.JSON[rounded](rounded(1.25))),
		codec.Check(codec.Msgpack[wrapped[size]](size("unknown"))),
		codec.Check(codec.JSON[zoned]()),
		codec.Check(codec.JSON[zoned](sample)),
	} {
		if err == nil || strings.Contains(err.Error(), "samples") {
			t.Errorf("got %v, want an error without advice that does not help", err)
		}
	}
}

// An error names the types whose methods may have returned it, and nothing of the payload.
func TestARejectedValueIsTracedToItsType(t *testing.T) {
	type order struct {
		Size  size
		Shade shade
	}
	samples := []any{size("S"), shade(1)}
	bad := order{Size: "secret", Shade: 1}
	for _, c := range []codec.Codec[order]{
		codec.JSON[order](samples...), codec.Msgpack[order](samples...)} {
		_, err := c.Marshal(bad)
		if err == nil || !strings.Contains(err.Error(), "codec_test.size") ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s wrote it: got %v, want an error that names the type", c.Name(), err)
		}
		good, err := c.Marshal(order{Size: "S", Shade: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Unmarshal([]byte(strings.Replace(string(good), "low", "abc", 1)))
		if err == nil || !strings.Contains(err.Error(), "codec_test.shade") ||
			strings.Contains(err.Error(), "abc") {
			t.Errorf("%s read it: got %v, want an error that names the type", c.Name(), err)
		}
	}
	_, err := codec.JSON[order](samples...).Marshal(bad)
	if err == nil || strings.Contains(err.Error(), "shade") {
		t.Errorf("got %v, want an error that names only size", err)
	}
}

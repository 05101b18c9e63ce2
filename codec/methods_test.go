package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/codec"
)

// Marshal detects a loss that the generated values did not show.
func TestAValueThatWouldBeLostIsNotWritten(t *testing.T) {
	for _, c := range both[neverNine]() {
		if err := codec.Check(c); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Marshal(9); err == nil {
			t.Errorf("%s wrote a value that does not come back", c.Name())
		}
		if _, err := c.Marshal(10); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error without the panic's text", c.Name(), err)
		}
	}
}

// The Equal method of a plain type is ignored: it may skip stored fields.
func TestATypesOwnEqualityHidesNoLoss(t *testing.T) {
	for _, c := range both[order]() {
		if err := codec.Check(c); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Marshal(order{"1", 9}); err == nil {
			t.Errorf("%s wrote a value that does not come back", c.Name())
		}
	}
}

// Samples are used only for types with encoding methods.
func TestASampleOfAPlainTypeProvesNothing(t *testing.T) {
	type twice struct {
		A json.Number
	}
	if codec.Check(codec.JSON[twice](twice{"1"})) == nil {
		t.Error("a type that loses values passed with a sample of itself")
	}
}

// The zero value of a type with methods need not be a valid one.
func TestSamplesProveATypeWhoseZeroValueIsInvalid(t *testing.T) {
	type shift struct{ Day weekday }
	if codec.Check(codec.JSON[shift]()) == nil {
		t.Error("a type that loses generated values passed")
	}
	monday := weekday(1)
	codecs := []codec.Codec[shift]{codec.JSON[shift](monday), codec.Msgpack[shift](monday)}
	for _, c := range codecs {
		store, err := newStore(c)
		if err != nil {
			t.Fatal(err)
		}
		throughStore(t, store, shift{7})
		if _, err := c.Marshal(shift{}); err == nil {
			t.Errorf("%s wrote a value that it does not read", c.Name())
		}
	}
}

func TestJSONDoesNotChangeTheCallersSamples(t *testing.T) {
	samples := []any{size("S"), "untouched"}
	codec.JSON[size](samples[:1]...)
	if samples[1] != "untouched" {
		t.Errorf("the caller's slice was changed: %v", samples)
	}
}

type (
	pair[T any] struct{ L, R *T }
	four[T any] = pair[pair[pair[pair[T]]]]
	tree        = four[four[four[four[four[four[int]]]]]] // 16 million leaves
)

func TestATypeWithManyPathsIsProvenInLittleMemory(t *testing.T) {
	var codecs []codec.Codec[tree]
	took := allocated(func() { codecs = both[tree]() })
	err := errors.Join(codec.Check(codecs[0]), codec.Check(codecs[1]))
	if err != nil || took > 256<<20 {
		t.Errorf("allocated %d bytes (%v), want at most 256 MiB", took, err)
	}
}

func TestJSONRefusesATimeThatItWouldShift(t *testing.T) {
	type history struct{ Born []time.Time }
	_, err := codec.JSON[history]().Marshal(history{[]time.Time{berlin1890}})
	if err == nil || !strings.HasPrefix(err.Error(), "history.Born[]: JSON cannot hold a zone") {
		t.Errorf("got %v, want an error that names history.Born[] and the zone", err)
	}
	throughStore(t, must(newStore(codec.JSON[history]())), history{[]time.Time{berlin1890.UTC()}})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Types with methods that lose nothing.

var shadeNames = []string{"none", "low", "high"}

type shade int

func (s shade) MarshalText() ([]byte, error) {
	if s < 0 || int(s) >= len(shadeNames) {
		return nil, errors.New("no such shade")
	}
	return []byte(shadeNames[s]), nil
}

func (s *shade) UnmarshalText(text []byte) error {
	for i, name := range shadeNames {
		if name == string(text) {
			*s = shade(i)
			return nil
		}
	}
	return errors.New("no such shade")
}

type byteShade uint8

func (s byteShade) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d", uint8(s)), nil }
func (s *byteShade) UnmarshalText(text []byte) error {
	_, err := fmt.Sscan(string(text), s)
	return err
}

// size accepts only some strings.
type size string

func (s size) MarshalText() ([]byte, error) {
	if s != "" && s != "S" && s != "L" {
		return nil, errors.New("no such size")
	}
	return []byte(s), nil
}
func (s *size) UnmarshalText(text []byte) error { *s = size(text); return nil }

type point struct{ X, Y int }

func (p point) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d/%d", p.X, p.Y), nil }
func (p *point) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "%d/%d", &p.X, &p.Y)
	return err
}

// account has only an unexported field.
type account struct{ number string }

func (a account) MarshalText() ([]byte, error)     { return []byte(a.number), nil }
func (a *account) UnmarshalText(text []byte) error { a.number = string(text); return nil }

// optional has a value only if it is set.
type optional struct {
	Value string
	Set   bool
}

func (o optional) MarshalText() ([]byte, error) {
	if !o.Set {
		return nil, nil
	}
	return []byte("=" + o.Value), nil
}

func (o *optional) UnmarshalText(text []byte) error {
	o.Value, o.Set = strings.CutPrefix(string(text), "=")
	return nil
}

// neverNine loses 9 and panics at 10.
type neverNine uint8

func (n neverNine) MarshalText() ([]byte, error) {
	switch n {
	case 9:
		n = 8
	case 10:
		panic("secret")
	}
	return fmt.Appendf(nil, "%d", uint8(n)), nil
}
func (n *neverNine) UnmarshalText(text []byte) error {
	var u uint8
	_, err := fmt.Sscan(string(text), &u)
	*n = neverNine(u)
	return err
}

// Stamp is a time in a struct of its own.
type Stamp struct{ time.Time }

// session has only an unexported field.
type session struct{ at time.Time }

func (s session) MarshalText() ([]byte, error)     { return s.at.MarshalText() }
func (s *session) UnmarshalText(text []byte) error { return s.at.UnmarshalText(text) }

// sessions has a map of structs with unexported fields.
type sessions struct{ byName map[string]session }

func (s sessions) MarshalText() ([]byte, error) {
	text := map[string]string{}
	for name, session := range s.byName {
		text[name] = session.at.Format(time.RFC3339Nano)
	}
	return json.Marshal(text)
}

func (s *sessions) UnmarshalText(encoded []byte) error {
	var text map[string]string
	err := json.Unmarshal(encoded, &text)
	s.byName = map[string]session{}
	for name, at := range text {
		t, parseErr := time.Parse(time.RFC3339Nano, at)
		s.byName[name], err = session{t}, errors.Join(err, parseErr)
	}
	return err
}

// version remembers how it was written, and is equal without that.
type version struct{ original string }

func (v version) number() string { return strings.TrimPrefix(v.original, "v") }

func (v *version) Equal(other *version) bool { return v.number() == other.number() }

func (v version) MarshalText() ([]byte, error)     { return []byte(v.number()), nil }
func (v *version) UnmarshalText(text []byte) error { v.original = string(text); return nil }

// weekday starts at 1. Its methods write 0, but do not read it.
type weekday int

func (d weekday) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "day %d", d), nil }
func (d *weekday) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "day %d", d); err != nil || *d < 1 || *d > 7 {
		return errors.New("no such day")
	}
	return nil
}

// order's Equal compares only ids.
type order struct {
	ID string
	N  neverNine
}

func (o order) Equal(other order) bool { return o.ID == other.ID }

// Types that lose something.

// appender and newJSON have methods that only newer versions of encoding/json call.
type appender string

func (a appender) AppendText(b []byte) ([]byte, error) { return append(b, "lost"...), nil }

type newJSON string

func (newJSON) MarshalJSONTo(any) error { return nil }

type secretTree struct {
	Secret string `json:"-"`
	Child  *secretTree
}

// newText would be written as text by old versions of Go, and as JSON by new ones.
type newText struct{ shade }

func (newText) MarshalJSONTo(any) error { return nil }

// shouting's MarshalText changes its receiver.
type shouting string

func (s *shouting) MarshalText() ([]byte, error) {
	*s = shouting(strings.ToUpper(string(*s)))
	return []byte(*s), nil
}
func (s *shouting) UnmarshalText(text []byte) error { *s = shouting(text); return nil }

// unsteady writes its entries in random order.
type unsteady struct{ Set map[string]string }

func (u unsteady) MarshalText() (text []byte, err error) {
	for key := range u.Set {
		text = append(strconv.AppendQuote(text, key), ' ')
	}
	return text, nil
}

func (u *unsteady) UnmarshalText(text []byte) error {
	u.Set = map[string]string{}
	for rest := string(text); rest != ""; {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return err
		}
		key, _ := strconv.Unquote(quoted)
		u.Set[key], rest = "", rest[len(quoted)+1:]
	}
	return nil
}

func (u unsteady) Equal(other unsteady) bool { return len(u.Set) == len(other.Set) }

type stampNumber time.Time

type zoned struct {
	time.Time
	Zone string
}

// zeroAtTen's IsZero is true for 10.
type zeroAtTen int

func (z zeroAtTen) IsZero() bool { return z == 10 }

type withShade struct {
	Shade
	Note string
}

// Shade is a shade that can be embedded.
type Shade = shade

type lower string

func (l lower) MarshalText() ([]byte, error)     { return []byte(strings.ToLower(string(l))), nil }
func (l *lower) UnmarshalText(text []byte) error { *l = lower(text); return nil }

type rounded float64

func (r rounded) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%.1f", float64(r)), nil
}
func (r *rounded) UnmarshalText(text []byte) error {
	_, err := fmt.Sscan(string(text), (*float64)(r))
	return err
}

// halfByte has MarshalText but no UnmarshalText.
type halfByte uint8

func (halfByte) MarshalText() ([]byte, error) { return []byte("x"), nil }

type alwaysFails struct{ X int }

func (alwaysFails) MarshalText() ([]byte, error)  { return nil, errors.New("no") }
func (*alwaysFails) UnmarshalText(_ []byte) error { return errors.New("no") }

type panics struct{ X int }

func (panics) MarshalText() ([]byte, error)  { panic("secret") }
func (*panics) UnmarshalText(_ []byte) error { return nil }

type unread struct{ X int }

func (unread) MarshalText() ([]byte, error)  { return []byte("x"), nil }
func (*unread) UnmarshalText(_ []byte) error { return errors.New("no") }

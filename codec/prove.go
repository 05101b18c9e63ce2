package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// prover makes values up and carries them through a codec. A plan proves plain types. Values prove
// types with encoding methods of their own; they also show that the format's library treats plain
// types as the plan says.
type prover struct {
	*dialect
	samples map[reflect.Type][]reflect.Value // values of types with methods
	seed    int                              // varies the values
	n       int                              // how many values were made with this seed
	partial bool                             // a field that is not exported was left zero
	under   map[reflect.Type]bool            // the types under way, so that recursion ends
}

const (
	seeds   = 12     // how many values are made up of each type
	maxMade = 10_000 // how many values are made for one of them; the rest stays zero
)

// standard are samples of types whose fields are not exported, and whose methods lose nothing.
var standard = []any{
	*big.NewInt(-1), *new(big.Int).Lsh(big.NewInt(3), 100), *big.NewRat(-1, 3), *big.NewRat(7, 1),
	netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1%eth0"),
	netip.MustParseAddr("::ffff:192.0.2.1"),
	netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1%eth0]:443"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/32"),
}

// prove returns the path of the first part of a type that does not come back equal, or that no
// value proves.
func (d *dialect) prove(p *plan, samples []any) error {
	m := prover{dialect: d}
	m.samples, m.under = map[reflect.Type][]reflect.Value{}, map[reflect.Type]bool{}
	for _, sample := range slices.Concat(samples, standard) {
		if v := reflect.ValueOf(sample); v.IsValid() && d.hasMethods(v.Type()) {
			m.samples[v.Type()] = append(m.samples[v.Type()], v)
		}
	}
	for _, method := range p.methods {
		if err := m.proveMethods(method.typ); err != nil {
			return fmt.Errorf("%w; give the codec samples of %s, as your program uses it",
				below(method.path, err), method.typ)
		}
	}
	if _, err := d.carry(p, reflect.New(p.typ).Interface()); lossy(err) {
		return below(typeName(p.typ), err)
	}
	for m.seed = range seeds {
		m.n = 0
		v := reflect.New(p.typ)
		m.fill(v.Elem())
		if _, err := d.carry(p, v.Interface()); err != nil {
			return below(typeName(p.typ), err)
		}
	}
	return nil
}

// lossy reports whether carry failed with a value that its codec did write.
func lossy(err error) bool {
	return errors.Is(err, errChanged) || errors.Is(err, errUnread) || errors.Is(err, errPanicked)
}

var errUnproven = errors.New("no value could be made up to prove the type's encoding methods")

// proveMethods carries samples of a type with methods, or values that it makes up. The methods may
// refuse to write a value, but each value that they write must come back equal, and among these
// must be one that is not zero.
func (m *prover) proveMethods(t reflect.Type) error {
	p, err := newPlan(t, m.dialect)
	if err != nil {
		return err
	}
	values := m.samples[t]
	if len(values) == 0 {
		values = m.makeUp(t)
	}
	var proven []reflect.Value
	nonzero := t.Size() == 0
	for _, value := range values {
		v := reflect.New(t)
		v.Elem().Set(value)
		encoded, err := m.carry(p, v.Interface())
		if lossy(err) {
			return err
		}
		if err != nil {
			continue
		}
		if again, _ := m.encodeGuarded(p, v.Interface()); !bytes.Equal(again, encoded) {
			return errors.New("its methods write one value in two ways")
		}
		proven = append(proven, v.Elem())
		nonzero = nonzero || !value.IsZero()
	}
	m.samples[t] = proven
	if !nonzero {
		return errUnproven
	}
	return nil
}

// makeUp returns values of a type, by its kind. There are none if it has fields that are not
// exported.
func (m *prover) makeUp(t reflect.Type) (values []reflect.Value) {
	for m.seed = range seeds {
		m.n, m.partial = 0, false
		v := reflect.New(t).Elem()
		m.fillKind(v)
		if !m.partial {
			values = append(values, v)
		}
	}
	return values
}

// Values of each kind that encodings get wrong.
var (
	times = []time.Time{time.Unix(1e9, 123456789).UTC(), {}, time.Unix(-2.5e9, 1).UTC(),
		time.Date(2026, 7, 1, 0, 0, 0, 999, time.FixedZone("", -3*3600-1800))}
	rawJSON = []string{`{"n":1.50}`, `"ü \u0000"`, `[1,2.5e300,null]`, "0", "null"}
	texts   = []string{"a", "A b", "ü \"\\<&>\u2028\ufffd", "1", " ", "true", "", "null", "\x00\n",
		"-0.50"}
	ints   = []int64{1, 2, 3, 0, -1, 100, math.MaxInt64, math.MinInt64}
	floats = []float64{1, 0.1, -2.5, 1.0 / 3, 3e38, 0, 1e-40}
)

func pick[E any](from []E, i int) E { return from[i%len(from)] }

// fill makes up a value.
func (m *prover) fill(v reflect.Value) {
	t := v.Type()
	m.n++
	i := m.seed + m.n
	switch {
	case m.n > maxMade:
	case t == timeType:
		v.Set(reflect.ValueOf(pick(times, i)))
	case t == rawJSONType:
		v.SetBytes([]byte(pick(rawJSON, i)))
	case len(m.samples[t]) > 0:
		v.Set(pick(m.samples[t], i))
	case !m.under[t]:
		m.under[t] = true
		m.fillKind(v)
		delete(m.under, t)
	}
}

// fillKind makes up a value by its kind, whatever methods it has.
func (m *prover) fillKind(v reflect.Value) {
	i := m.seed + m.n
	switch k := v.Kind(); {
	case k == reflect.Bool:
		v.SetBool(i%2 == 1)
	case k == reflect.String:
		v.SetString(pick(texts, i))
	case v.CanInt():
		n := pick(ints, i)
		if v.OverflowInt(n) {
			n >>= 64 - v.Type().Bits()
		}
		v.SetInt(n)
	case v.CanUint():
		n := uint64(pick(ints, i))
		if v.OverflowUint(n) {
			n >>= 64 - v.Type().Bits()
		}
		v.SetUint(n)
	case v.CanFloat():
		v.SetFloat(pick(floats, i))
	case k == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		m.fill(v.Elem())
	case k == reflect.Slice:
		n := pick([]int{1, 4, 0, 16}, i) // 4 and 16 bytes are an IP address
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		m.fillElements(v)
	case k == reflect.Array:
		m.fillElements(v)
	case k == reflect.Map:
		m.fillMap(v)
	case k == reflect.Struct:
		m.fillStruct(v)
	}
}

func (m *prover) fillElements(v reflect.Value) {
	for i := range min(v.Len(), 100) {
		m.fill(v.Index(i))
	}
}

func (m *prover) fillMap(v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for range 3 {
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		m.fill(key)
		m.fill(elem)
		v.SetMapIndex(key, elem)
	}
}

func (m *prover) fillStruct(v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Field(i); f.CanSet() {
			m.fill(f)
		} else {
			m.partial = true
		}
	}
}

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

// prover checks that generated values of a type make the round trip. No other check covers types
// with encoding methods. The prover also tests that the encoding library agrees with the plan.
type prover struct {
	*format
	samples map[reflect.Type][]reflect.Value // values of types with encoding methods
	seed    int                              // selects the values
	n       int                              // values generated since the seed changed
	partial bool                             // an unexported field was left zero
	active  map[reflect.Type]bool            // types being filled: ends recursion
}

const (
	seeds        = 12     // generated values per type
	maxGenerated = 10_000 // parts per generated value; further parts stay zero
)

// standardSamples are values of common types with unexported fields and lossless methods.
var standardSamples = []any{
	*big.NewInt(-1), *new(big.Int).Lsh(big.NewInt(3), 100),
	netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1%eth0"),
	netip.MustParseAddr("::ffff:192.0.2.1"),
	netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1%eth0]:443"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/32"),
}

// prove returns an error if a value of the type does not make the round trip, or if a type with
// encoding methods has no value to test.
func (f *format) prove(p *plan, samples []any) error {
	m := prover{format: f}
	m.samples, m.active = map[reflect.Type][]reflect.Value{}, map[reflect.Type]bool{}
	for _, sample := range slices.Concat(samples, standardSamples) {
		v := reflect.ValueOf(sample)
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.IsValid() && f.hasMethods(v.Type()) {
			m.samples[v.Type()] = append(m.samples[v.Type()], v)
		}
	}
	for _, method := range p.methods {
		if advice, err := m.proveMethods(method.typ); err != nil {
			return fmt.Errorf("%w%s", inPath(method.path, err), advice)
		}
	}
	for m.seed = range seeds {
		m.n = 0
		v := reflect.New(p.typ)
		m.fill(v.Elem())
		encoded, err := f.roundTrip(p, v.Interface())
		if err != nil {
			return inPath(typeName(p.typ), err)
		}
		if len(encoded) > 1<<20 { // one large value, such as an array, is enough
			break
		}
	}
	return nil
}

// wasEncoded reports whether roundTrip encoded a value and then failed.
func wasEncoded(err error) bool {
	return errors.Is(err, errChanged) || errors.Is(err, errUndecodable) ||
		errors.Is(err, errPanicked)
}

// proveMethods tests the samples of a type with encoding methods, or generated values. Each value
// must make the round trip, or be rejected by its methods. At least one nonzero value must pass.
// The advice goes with an error.
func (m *prover) proveMethods(t reflect.Type) (advice string, err error) {
	p, err := newPlan(t, m.format)
	if err != nil {
		return "", err
	}
	values := m.samples[t]
	if len(values) == 0 {
		values = m.generate(t)
		advice = fmt.Sprintf("; pass the codec samples of %s", t)
	}
	var proven []reflect.Value
	nonzero := t.Size() == 0
	for _, value := range values {
		v := reflect.New(t)
		v.Elem().Set(value)
		encoded, err := m.roundTrip(p, v.Interface())
		if wasEncoded(err) {
			if embedded := m.promoted(p, v.Elem(), encoded); embedded != nil {
				advice = fmt.Sprintf("; give the embedded %s a field name", embedded)
			}
			return advice, err
		}
		if err != nil {
			continue
		}
		if again, _ := m.encodeGuarded(p, v.Interface()); !bytes.Equal(again, encoded) {
			return "", errors.New("its methods encode the same value to different bytes")
		}
		proven = append(proven, v.Elem())
		nonzero = nonzero || !value.IsZero()
	}
	m.samples[t] = proven
	if !nonzero {
		return advice, errors.New(
			"there is no valid value other than zero to test its encoding methods")
	}
	return "", nil
}

// promoted returns the type of an embedded field whose methods have encoded a struct, or nil. Such
// methods leave out the other fields.
func (m *prover) promoted(p *plan, v reflect.Value, encoded []byte) reflect.Type {
	if v.Kind() != reflect.Struct || v.NumField() == 1 || encoded == nil {
		return nil
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.Anonymous {
			continue
		}
		alone := reflect.New(v.Type()) // without the other fields
		readable(alone.Elem().Field(i)).Set(readable(v.Field(i)))
		if again, _ := m.encodeGuarded(p, alone.Interface()); bytes.Equal(again, encoded) {
			return field.Type
		}
	}
	return nil
}

// generate returns values of a type by its kind. It returns none for a type with unexported fields.
func (m *prover) generate(t reflect.Type) (values []reflect.Value) {
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

// Values that encodings often get wrong, by kind.
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

// fill sets v to a generated value.
func (m *prover) fill(v reflect.Value) {
	t := v.Type()
	m.n++
	i := m.seed + m.n
	switch {
	case m.n > maxGenerated: // v stays zero
	case t == timeType:
		v.Set(reflect.ValueOf(pick(times, i)))
	case t == rawJSONType:
		v.SetBytes([]byte(pick(rawJSON, i)))
	case len(m.samples[t]) > 0:
		v.Set(pick(m.samples[t], i))
	case !m.active[t]:
		m.active[t] = true
		m.fillKind(v)
		delete(m.active, t)
	}
}

// fillKind sets v to a generated value of its kind. It ignores the type's samples and methods.
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
		n := pick([]int{1, 4, 0, 16}, i) // 4 and 16 bytes make a net.IP
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
	for i := range min(v.Len(), 4) {
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
		field := v.Type().Field(i)
		switch f := v.Field(i); {
		case f.CanSet():
			m.fill(f)
		case field.Anonymous && field.Type.Kind() == reflect.Struct:
			m.fillStruct(f) // it may have exported fields
		case field.Name != "_":
			m.partial = true
		}
	}
}

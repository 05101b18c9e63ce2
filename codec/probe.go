package codec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// prove carries a value in which nothing is zero through a codec. What a type's plan cannot tell shows here: a
// method of its own that leaves a field out, a tag with an odd effect.
func prove[T any](c Codec[T], d dialect) error {
	for _, opaqueToo := range []bool{true, false} {
		var sent T
		f := filler{dialect: d, opaqueToo: opaqueToo, under: map[reflect.Type]bool{}}
		f.fill(reflect.ValueOf(&sent).Elem())
		encoded, err := c.Marshal(sent)
		if err != nil {
			continue // a method of the type's own may well refuse made-up values
		}
		got, err := c.Unmarshal(encoded)
		if err != nil {
			continue
		}
		t := reflect.TypeFor[T]()
		if path := f.difference(typeName(t), reflect.ValueOf(sent), reflect.ValueOf(got)); path != "" {
			return fmt.Errorf("%s: a value does not come back as it was", path)
		}
		return nil
	}
	return nil
}

// filler makes up values.
type filler struct {
	dialect
	opaqueToo bool // fill the exported fields of types with methods of their own
	n         int64
	under     map[reflect.Type]bool // those being filled, to end recursion
}

var rawJSONType = reflect.TypeFor[json.RawMessage]()

func (f *filler) fill(v reflect.Value) {
	t := v.Type()
	f.n++
	if t == timeType {
		v.Set(reflect.ValueOf(time.Unix(1e9+f.n, 123456000).UTC()))
		return
	}
	if t == rawJSONType {
		v.SetBytes(fmt.Appendf(nil, `{"n":%d}`, f.n))
		return
	}
	if isOpaque, _ := f.isOpaque(t); isOpaque && (!f.opaqueToo || !allExported(t)) || f.under[t] {
		return
	}
	f.under[t] = true
	f.fillKind(v)
	delete(f.under, t)
}

func (f *filler) fillKind(v reflect.Value) {
	switch k := v.Kind(); {
	case k == reflect.Bool:
		v.SetBool(true)
	case k == reflect.String:
		v.SetString(fmt.Sprint("text ", f.n))
	case v.CanInt():
		v.SetInt(1 + f.n%100)
	case v.CanUint():
		v.SetUint(1 + uint64(f.n%100))
	case v.CanFloat():
		v.SetFloat(float64(f.n) + 0.5)
	case k == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case k == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0))
	case k == reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case k == reflect.Map:
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(elem)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, elem)
	case k == reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	}
}

func allExported(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if !t.Field(i).IsExported() {
			return false
		}
	}
	return true
}

// difference returns the path of the first part in which two values differ, or "".
func (f *filler) difference(path string, a, b reflect.Value) string {
	if a.Type() == timeType {
		return pathIf(!a.Interface().(time.Time).Equal(b.Interface().(time.Time)), path)
	}
	if isOpaque, _ := f.isOpaque(a.Type()); isOpaque && !allExported(a.Type()) && a.Type() != rawJSONType {
		return "" // only its own methods know
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return pathIf(a.IsNil() != b.IsNil(), path)
		}
		return f.difference(path, a.Elem(), b.Elem())
	case reflect.Slice, reflect.Array:
		return f.listDifference(path, a, b)
	case reflect.Map:
		return f.mapDifference(path, a, b)
	case reflect.Struct:
		for i := range a.NumField() {
			if diff := f.difference(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i)); diff != "" {
				return diff
			}
		}
		return ""
	default:
		return pathIf(!a.Equal(b), path)
	}
}

func (f *filler) listDifference(path string, a, b reflect.Value) string {
	if a.Len() != b.Len() {
		return path
	}
	for i := range a.Len() {
		if diff := f.difference(path+"[]", a.Index(i), b.Index(i)); diff != "" {
			return diff
		}
	}
	return ""
}

func (f *filler) mapDifference(path string, a, b reflect.Value) string {
	if a.Len() != b.Len() {
		return path
	}
	for _, key := range a.MapKeys() {
		if !b.MapIndex(key).IsValid() {
			return path + "[key]"
		}
		if diff := f.difference(path+"[]", a.MapIndex(key), b.MapIndex(key)); diff != "" {
			return diff
		}
	}
	return ""
}

func pathIf(differ bool, path string) string {
	if differ {
		return path
	}
	return ""
}

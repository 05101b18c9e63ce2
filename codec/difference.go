package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
)

var errChanged = errors.New("the value changes when it is encoded and decoded")

// difference compares two values of one type. It returns [errChanged] with the path of the first
// difference, or nil. It ignores the differences that the package comment allows.
func (f *format) difference(a, b reflect.Value, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	if a.Type() == rawJSONType {
		return changedUnless(sameJSON(a.Bytes(), b.Bytes()))
	}
	if equal, known := f.equalByMethod(a, b); known {
		return changedUnless(equal)
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() || a.Elem().Type() != b.Elem().Type() {
			return changedUnless(a.IsNil() && b.IsNil())
		}
		return f.difference(a.Elem(), b.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range min(a.Len(), b.Len()) {
			if err := f.difference(a.Index(i), b.Index(i), depth+1); err != nil {
				return inPath("[]", err)
			}
		}
		return changedUnless(a.Len() == b.Len())
	case reflect.Map:
		return f.mapDifference(a, b, depth)
	case reflect.Struct:
		return f.structDifference(a, b, depth)
	case reflect.Float32, reflect.Float64:
		bothNaN := a.Float() != a.Float() && b.Float() != b.Float()
		return changedUnless(bothNaN || a.Float() == b.Float())
	default:
		return changedUnless(a.Equal(b))
	}
}

func (f *format) mapDifference(a, b reflect.Value, depth int) error {
	for entry := a.MapRange(); entry.Next(); {
		other := b.MapIndex(entry.Key())
		if !other.IsValid() {
			return inPath("[key]", errChanged)
		}
		if err := f.difference(entry.Value(), other, depth+1); err != nil {
			return inPath("[]", err)
		}
	}
	return changedUnless(a.Len() == b.Len())
}

func (f *format) structDifference(a, b reflect.Value, depth int) error {
	for i := range a.NumField() {
		err := f.difference(readable(a.Field(i)), readable(b.Field(i)), depth+1)
		if field := a.Type().Field(i); err != nil && field.IsExported() {
			err = inPath("."+field.Name, err) // a path omits unexported fields
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func changedUnless(same bool) error {
	if same {
		return nil
	}
	return errChanged
}

// readable returns a field whose methods can be called, even if it is unexported. A field in a map
// entry stays as it is.
func readable(field reflect.Value) reflect.Value {
	if !field.CanInterface() && field.CanAddr() {
		return reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem()
	}
	return field
}

// sameJSON compares raw JSON by value. Nil equals null.
func sameJSON(a, b []byte) bool {
	parse := func(raw []byte) (value any) {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if dec.Decode(&value) != nil && raw != nil {
			return string(raw)
		}
		return value
	}
	return bytes.Equal(a, b) || reflect.DeepEqual(parse(a), parse(b))
}

var boolType = reflect.TypeFor[bool]()

// equalByMethod compares by a method: big.Rat by Cmp, times and types with encoding methods by
// Equal. known is false if a has no such method.
func (f *format) equalByMethod(a, b reflect.Value) (equal, known bool) {
	t := a.Type()
	if !a.CanInterface() || t != timeType && !f.hasMethods(t) || t.Kind() == reflect.Interface {
		return false, false
	}
	if x, ok := a.Interface().(big.Rat); ok {
		y := b.Interface().(big.Rat)
		return x.Cmp(&y) == 0, true
	}
	receiver := reflect.New(t)
	receiver.Elem().Set(a)
	method := receiver.MethodByName("Equal")
	want := reflect.FuncOf([]reflect.Type{t}, []reflect.Type{boolType}, false)
	if !method.IsValid() || method.Type() != want {
		return false, false
	}
	return method.Call([]reflect.Value{b})[0].Bool(), true
}

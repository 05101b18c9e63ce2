package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
)

// Equal reports whether two payloads are equal for a store. It ignores the differences that the
// package comment allows.
func Equal[T any](a, b T) bool {
	return compare(reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem()) == nil
}

// compare returns nil if two values of one type are equal. Otherwise it returns [errChanged] with
// the path of the first difference.
func compare(a, b reflect.Value) (err error) {
	defer guard(&err)
	return comparison{}.difference(a, b, 0)
}

var errChanged = errors.New("the value changes when it is encoded and decoded")

// comparison holds the pairs of pointers that were compared. A shared value is compared once.
type comparison map[pointerPair]bool

type pointerPair struct {
	a, b uintptr
	typ  reflect.Type
}

func (c comparison) difference(a, b reflect.Value, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	if a.Type() == rawJSONType {
		return changedUnless(sameJSON(a.Bytes(), b.Bytes()))
	}
	if equal, known := equalByMethod(a, b); known {
		return changedUnless(equal)
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() || a.Elem().Type() != b.Elem().Type() {
			return changedUnless(a.IsNil() && b.IsNil())
		}
		if a.Kind() == reflect.Pointer {
			pair := pointerPair{a.Pointer(), b.Pointer(), a.Type()}
			if c[pair] {
				return nil
			}
			c[pair] = true
		}
		return c.difference(a.Elem(), b.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		return c.listDifference(a, b, depth)
	case reflect.Map:
		return c.mapDifference(a, b, depth)
	case reflect.Struct:
		return c.structDifference(a, b, depth)
	case reflect.Float32, reflect.Float64:
		bothNaN := a.Float() != a.Float() && b.Float() != b.Float()
		return changedUnless(bothNaN || a.Float() == b.Float())
	case reflect.Func:
		return changedUnless(a.IsNil() && b.IsNil())
	default:
		return changedUnless(a.Equal(b))
	}
}

func (c comparison) listDifference(a, b reflect.Value, depth int) error {
	if elem := a.Type().Elem(); a.Kind() == reflect.Slice && elem.Kind() == reflect.Uint8 &&
		!hasMethods(elem) {
		return changedUnless(bytes.Equal(a.Bytes(), b.Bytes()))
	}
	for i := range min(a.Len(), b.Len()) {
		if err := c.difference(a.Index(i), b.Index(i), depth+1); err != nil {
			return inPath("[]", err)
		}
	}
	return changedUnless(a.Len() == b.Len())
}

func (c comparison) mapDifference(a, b reflect.Value, depth int) error {
	for entry := a.MapRange(); entry.Next(); {
		other := b.MapIndex(entry.Key())
		if !other.IsValid() {
			return inPath("[key]", errChanged)
		}
		err := c.difference(addressable(entry.Value()), addressable(other), depth+1)
		if err != nil {
			return inPath("[]", err)
		}
	}
	return changedUnless(a.Len() == b.Len())
}

func (c comparison) structDifference(a, b reflect.Value, depth int) error {
	for i := range a.NumField() {
		err := c.difference(readable(a.Field(i)), readable(b.Field(i)), depth+1)
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

// addressable returns an addressable copy of a map entry: readable needs addressable fields.
func addressable(entry reflect.Value) reflect.Value {
	if !entry.CanInterface() {
		return entry
	}
	v := reflect.New(entry.Type()).Elem()
	v.Set(entry)
	return v
}

// readable returns a field in a form whose methods can be called, even if it is unexported.
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

// hasMethods reports whether a type has encoding or decoding methods of any format.
func hasMethods(t reflect.Type) bool {
	known, ok := methodTypes.Load(t)
	if !ok {
		has := jsonFormat.hasMethods(t) || msgpackFormat.hasMethods(t)
		known, _ = methodTypes.LoadOrStore(t, has)
	}
	return known.(bool)
}

var methodTypes sync.Map // reflect.Type -> bool

// equalByMethod compares times, and types with encoding methods, by their method Equal. known is
// false if a has no such method.
func equalByMethod(a, b reflect.Value) (equal, known bool) {
	t := a.Type()
	if !a.CanInterface() || t.Kind() == reflect.Interface || !hasMethods(t) {
		return false, false
	}
	receiver, argument := reflect.New(t), reflect.New(t)
	receiver.Elem().Set(a)
	argument.Elem().Set(b)
	method := receiver.MethodByName("Equal")
	for _, with := range []reflect.Value{argument, argument.Elem()} {
		want := reflect.FuncOf([]reflect.Type{with.Type()}, []reflect.Type{boolType}, false)
		if method.IsValid() && method.Type() == want {
			return method.Call([]reflect.Value{with})[0].Bool(), true
		}
	}
	return false, false
}

var boolType = reflect.TypeFor[bool]()

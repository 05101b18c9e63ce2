package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
)

// maxDepth is how deep a value may nest, and maxRead how deep bytes may. The second is the limit of
// encoding/json. It leaves room for levels that check does not count, as a type has few of them.
const (
	maxDepth = 1000
	maxRead  = 10_000
)

var errTooDeep = errors.New("the value is nested deeper than 1000")

// check returns why v cannot be encoded, with the path of the part that is the reason.
func (p *plan) check(v reflect.Value, depth int) error {
	switch {
	case !p.watched:
		return nil
	case depth > maxDepth:
		return errTooDeep
	}
	switch p.form {
	case scalar:
		return p.verify(v)
	case pointer:
		if !v.IsNil() {
			return p.elem.check(v.Elem(), depth+1)
		}
	case list:
		for i := range v.Len() {
			if err := p.elem.check(v.Index(i), depth+1); err != nil {
				return below("[]", err)
			}
		}
	case mapping:
		for entry := v.MapRange(); entry.Next(); {
			if err := p.key.check(entry.Key(), depth+1); err != nil {
				return below("[key]", err)
			}
			if err := p.elem.check(entry.Value(), depth+1); err != nil {
				return below("[]", err)
			}
		}
	case structure:
		for i := range p.fields {
			f := &p.fields[i]
			if err := f.check(v.FieldByIndex(f.index), depth+1); err != nil {
				return below("."+p.typ.FieldByIndex(f.index).Name, err)
			}
		}
	}
	return nil
}

// pathError is an error about a part of a value.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// below puts a step in front of an error's path. An error that comes from deep in a value names
// only the outer steps.
func below(step string, err error) error {
	inner, ok := err.(*pathError)
	switch {
	case !ok:
		return &pathError{step, err}
	case len(inner.path) > 200:
		return &pathError{step + "...", inner.err}
	}
	return &pathError{step + inner.path, inner.err}
}

var errChanged = errors.New("a value does not come back equal")

// difference returns [errChanged] with the path of the first part in which two values of one type
// differ, or nil. It lets pass what the package comment allows to differ.
func (d *dialect) difference(a, b reflect.Value, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	if a.Type() == rawJSONType {
		return changedUnless(sameJSON(a.Bytes(), b.Bytes()))
	}
	if equal, known := d.equalByMethod(a, b); known {
		return changedUnless(equal)
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() || a.Elem().Type() != b.Elem().Type() {
			return changedUnless(a.IsNil() && b.IsNil())
		}
		return d.difference(a.Elem(), b.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range min(a.Len(), b.Len()) {
			if err := d.difference(a.Index(i), b.Index(i), depth+1); err != nil {
				return below("[]", err)
			}
		}
		return changedUnless(a.Len() == b.Len())
	case reflect.Map:
		return d.mapDifference(a, b, depth)
	case reflect.Struct:
		for i := range a.NumField() {
			err := d.difference(readable(a.Field(i)), readable(b.Field(i)), depth+1)
			if f := a.Type().Field(i); err != nil && f.IsExported() { // a path names only these
				err = below("."+f.Name, err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case reflect.Float32, reflect.Float64:
		bothNaN := a.Float() != a.Float() && b.Float() != b.Float()
		return changedUnless(bothNaN || a.Float() == b.Float())
	default:
		return changedUnless(a.Equal(b))
	}
}

func (d *dialect) mapDifference(a, b reflect.Value, depth int) error {
	for entry := a.MapRange(); entry.Next(); {
		other := b.MapIndex(entry.Key())
		if !other.IsValid() {
			return below("[key]", errChanged)
		}
		if err := d.difference(entry.Value(), other, depth+1); err != nil {
			return below("[]", err)
		}
	}
	return changedUnless(a.Len() == b.Len())
}

func changedUnless(same bool) error {
	if same {
		return nil
	}
	return errChanged
}

// readable returns a field so that its methods can be called, exported or not.
func readable(field reflect.Value) reflect.Value {
	if !field.CanInterface() && field.CanAddr() {
		return reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem()
	}
	return field
}

// sameJSON compares values of raw JSON. Nil is null.
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

// equalByMethod compares times and rational numbers, and values of types with encoding methods that
// have a method Equal. known is false for others.
func (d *dialect) equalByMethod(a, b reflect.Value) (equal, known bool) {
	t := a.Type()
	if !a.CanInterface() || t != timeType && !d.hasMethods(t) || t.Kind() == reflect.Interface {
		return false, false
	}
	if x, ok := a.Interface().(big.Rat); ok {
		y := b.Interface().(big.Rat)
		return x.Cmp(&y) == 0, true
	}
	receiver := reflect.New(t)
	receiver.Elem().Set(a)
	method := receiver.MethodByName("Equal")
	if !method.IsValid() || method.Type() != reflect.FuncOf([]reflect.Type{t}, boolType, false) {
		return false, false
	}
	return method.Call([]reflect.Value{b})[0].Bool(), true
}

var boolType = []reflect.Type{reflect.TypeFor[bool]()}

package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
)

// maxDepth is how deep a value may nest.
const maxDepth = 1000

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
func difference(a, b reflect.Value, depth int) error {
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
		return difference(a.Elem(), b.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range min(a.Len(), b.Len()) {
			if err := difference(a.Index(i), b.Index(i), depth+1); err != nil {
				return below("[]", err)
			}
		}
		return changedUnless(a.Len() == b.Len())
	case reflect.Map:
		return mapDifference(a, b, depth)
	case reflect.Struct:
		for i := range a.NumField() {
			err := difference(a.Field(i), b.Field(i), depth+1)
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

func mapDifference(a, b reflect.Value, depth int) error {
	for entry := a.MapRange(); entry.Next(); {
		other := b.MapIndex(entry.Key())
		if !other.IsValid() {
			return below("[key]", errChanged)
		}
		if err := difference(entry.Value(), other, depth+1); err != nil {
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

// sameJSON compares raw JSON, of which nil is null and white space between tokens says nothing.
func sameJSON(a, b []byte) bool {
	compact := func(raw []byte) string {
		var buf bytes.Buffer
		switch {
		case raw == nil:
			return "null"
		case json.Compact(&buf, raw) != nil:
			return string(raw)
		}
		return buf.String()
	}
	return compact(a) == compact(b)
}

// equalByMethod compares two values by an Equal or Cmp method of their type, as times and big
// numbers have. known is false where there is none that can be called.
func equalByMethod(a, b reflect.Value) (equal, known bool) {
	if !a.CanInterface() || a.Type().Name() == "" || a.Kind() == reflect.Interface {
		return false, false
	}
	receiver, argument := reflect.New(a.Type()), reflect.New(b.Type())
	receiver.Elem().Set(a)
	argument.Elem().Set(b)
	methods := []reflect.Value{receiver.MethodByName("Equal"), receiver.MethodByName("Cmp")}
	for _, method := range methods {
		if !method.IsValid() || method.Type().NumIn() != 1 || method.Type().NumOut() != 1 {
			continue
		}
		with := argument
		if method.Type().In(0) == a.Type() {
			with = argument.Elem()
		} else if method.Type().In(0) != argument.Type() {
			continue
		}
		switch result := method.Call([]reflect.Value{with})[0]; result.Kind() {
		case reflect.Bool:
			return result.Bool(), true
		case reflect.Int:
			return result.Int() == 0, true
		}
	}
	return false, false
}

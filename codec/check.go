package codec

import (
	"errors"
	"reflect"
)

// maxDepth limits the nesting of values to encode. maxReadDepth limits the nesting of bytes to
// decode, as encoding/json does. It is larger because plan.check does not count every level.
const (
	maxDepth     = 1000
	maxReadDepth = 10_000
)

var errTooDeep = errors.New("nested too deeply")

// check returns why v must not be encoded, or nil. The error has the path of the faulty part.
func (p *plan) check(v reflect.Value, depth int) error {
	switch {
	case !p.needsCheck:
		return nil
	case depth > maxDepth:
		return errTooDeep
	}
	switch p.shape {
	case scalar:
		return p.verify(v)
	case pointer:
		if !v.IsNil() {
			return p.elem.check(v.Elem(), depth+1)
		}
	case list:
		for i := range v.Len() {
			if err := p.elem.check(v.Index(i), depth+1); err != nil {
				return inPath("[]", err)
			}
		}
	case mapping:
		for entry := v.MapRange(); entry.Next(); {
			if err := p.key.check(entry.Key(), depth+1); err != nil {
				return inPath("[key]", err)
			}
			if err := p.elem.check(entry.Value(), depth+1); err != nil {
				return inPath("[]", err)
			}
		}
	case structure:
		for i := range p.fields {
			f := &p.fields[i]
			if err := f.check(v.FieldByIndex(f.index), depth+1); err != nil {
				return inPath("."+p.typ.FieldByIndex(f.index).Name, err)
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

// inPath puts a step in front of an error's path. It cuts the inner steps of a long path.
func inPath(step string, err error) error {
	inner, ok := err.(*pathError)
	switch {
	case !ok:
		return &pathError{step, err}
	case len(inner.path) > 200:
		return &pathError{step + "...", inner.err}
	}
	return &pathError{step + inner.path, inner.err}
}

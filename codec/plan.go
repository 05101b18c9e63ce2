package codec

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// plan is what a codec knows of a type: that it can carry it and, for hostile bytes, what decoding it costs.
type plan struct {
	typ    reflect.Type
	form   form
	elem   *plan            // of a pointer, list or mapping
	key    *plan            // of a mapping
	fields map[string]*plan // of a structure, by name on the wire
	order  []member         // the fields again

	// Of the whole type, on the root of its plan alone.
	recursive bool // some type in it contains itself
	hasMap    bool
}

// member is a field of a structure.
type member struct {
	*plan
	name    string
	index   []int // for reflect.Value.FieldByIndex
	mayOmit bool
}

// form is how a type is written.
type form int

const (
	scalar    form = iota // numbers, strings, bools, bytes, times
	opaque                // by methods of the type's own
	pointer               // null or what it points to
	list                  // slices and arrays
	mapping               // maps
	structure             // structs
)

// dialect is in what the codecs differ about types.
type dialect struct {
	// own are pairs of interfaces, marshaler and unmarshaler, in the order in which the encoding prefers them.
	own [][2]reflect.Type
	// field says how a field is called on the wire, whether it may be left out, and whether the fields of an
	// embedded struct stand in its place; or why the field would be lost.
	field func(f reflect.StructField, top bool) (name string, mayOmit, inline bool, err error)
}

// planner walks a type.
type planner struct {
	dialect
	done      map[reflect.Type]*plan // also those under way, so that recursive types end
	under     map[reflect.Type]bool  // those under way
	recursive bool
	hasMap    bool
}

var timeType = reflect.TypeFor[time.Time]()

// newPlan returns the plan of a type, or the path of the first thing in it that would be lost, and why.
func newPlan(t reflect.Type, d dialect) (*plan, error) {
	p := planner{dialect: d, done: map[reflect.Type]*plan{}, under: map[reflect.Type]bool{}}
	root, err := p.plan(t, typeName(t), true)
	root.recursive, root.hasMap = p.recursive, p.hasMap
	return root, err
}

func typeName(t reflect.Type) string {
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}

func (p *planner) plan(t reflect.Type, path string, top bool) (*plan, error) {
	if known := p.done[t]; known != nil {
		p.recursive = p.recursive || p.under[t]
		return known, nil
	}
	made := &plan{typ: t}
	p.done[t], p.under[t] = made, true
	err := p.fill(made, path, top)
	delete(p.under, t)
	return made, err
}

func (p *planner) fill(made *plan, path string, top bool) (err error) {
	t := made.typ
	isOpaque, err := p.isOpaque(t)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch kind := t.Kind(); {
	case t == timeType || !isOpaque && (isScalar(kind) || isBytes(t)):
		made.form = scalar
	case kind == reflect.Interface:
		return fmt.Errorf("%s: an interface does not say which type to decode", path)
	case isOpaque:
		made.form = opaque
	case kind == reflect.Pointer:
		made.form = pointer
		if err := checkPointer(t); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		made.elem, err = p.plan(t.Elem(), path, false)
	case kind == reflect.Slice, kind == reflect.Array:
		made.form = list
		made.elem, err = p.plan(t.Elem(), path+"[]", false)
	case kind == reflect.Map:
		made.form, p.hasMap = mapping, true
		err = p.fillMap(made, path)
	case kind == reflect.Struct:
		made.form = structure
		made.fields = map[string]*plan{}
		err = p.fillStruct(made, t, nil, path, top)
	default:
		return fmt.Errorf("%s: a %s cannot be stored", path, kind)
	}
	return err
}

func isScalar(k reflect.Kind) bool {
	return k == reflect.String || k >= reflect.Bool && k <= reflect.Float64 && k != reflect.Uintptr
}

// isBytes reports whether a type is a slice or array of bytes.
func isBytes(t reflect.Type) bool {
	return (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() == reflect.Uint8
}

// checkPointer refuses pointers to what has a nil of its own: on the wire both are one null.
func checkPointer(t reflect.Type) error {
	switch kind := t.Elem().Kind(); kind {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return fmt.Errorf("a nil pointer and a pointer to a nil %s would read back the same", kind)
	}
	return nil
}

func (p *planner) fillMap(made *plan, path string) (err error) {
	key := made.typ.Key()
	if k := key.Kind(); k != reflect.String && (k < reflect.Int || k > reflect.Uint64) {
		return fmt.Errorf("%s: a map's keys must be strings or integers, not %s", path, key)
	}
	if made.key, err = p.plan(key, path+"[key]", false); err != nil {
		return err
	}
	made.elem, err = p.plan(made.typ.Elem(), path+"[]", false)
	return err
}

// fillStruct adds the fields of t, which is made's type or embedded in it at index.
func (p *planner) fillStruct(made *plan, t reflect.Type, index []int, path string, top bool) error {
	for i := range t.NumField() {
		f := t.Field(i)
		f.Index = append(slices.Clone(index), i)
		if err := p.fillField(made, f, path+"."+f.Name, top); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) fillField(made *plan, f reflect.StructField, path string, top bool) error {
	if !f.IsExported() {
		return fmt.Errorf("%s: the field is not exported", path)
	}
	if f.Anonymous && f.Type.Kind() == reflect.Pointer {
		return fmt.Errorf("%s: an embedded pointer that is nil would not stay so", path)
	}
	name, mayOmit, inline, err := p.field(f, top)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	isOpaque, err := p.isOpaque(f.Type)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if inline && f.Type.Kind() == reflect.Struct && !isOpaque && f.Type != timeType {
		return p.fillStruct(made, f.Type, f.Index, path, false)
	}
	if made.fields[name] != nil {
		return fmt.Errorf("%s: another field is called %q too", path, name)
	}
	field, err := p.plan(f.Type, path, false)
	made.fields[name] = field
	made.order = append(made.order, member{field, name, f.Index, mayOmit})
	return err
}

var errLopsided = errors.New("the type has methods of its own to encode it, but not those to decode it, or the reverse")

// isOpaque reports whether values of a type are written by methods of its own.
func (d dialect) isOpaque(t reflect.Type) (bool, error) {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return false, nil
	}
	first := func(side int) int {
		for i, pair := range d.own {
			if t.Implements(pair[side]) || reflect.PointerTo(t).Implements(pair[side]) {
				return i
			}
		}
		return -1
	}
	encodes, decodes := first(0), first(1)
	if encodes != decodes {
		return false, errLopsided
	}
	return encodes >= 0, nil
}

// maxDepth is how deep a value may nest.
const maxDepth = 1000

// checkDepth refuses a value, given as a pointer, that nests too deep to be read back, as one does that contains
// itself. Only a recursive type can have such values.
func (p *plan) checkDepth(v any) error {
	if p.recursive && p.tooDeep(reflect.ValueOf(v).Elem(), 0) {
		return fmt.Errorf("the value is nested deeper than %d", maxDepth)
	}
	return nil
}

func (p *plan) tooDeep(v reflect.Value, depth int) bool {
	if depth > maxDepth {
		return true
	}
	switch p.form {
	case pointer:
		return !v.IsNil() && p.elem.tooDeep(v.Elem(), depth+1)
	case list:
		for i := range v.Len() {
			if p.elem.tooDeep(v.Index(i), depth+1) {
				return true
			}
		}
	case mapping:
		for _, key := range v.MapKeys() {
			if p.elem.tooDeep(v.MapIndex(key), depth+1) {
				return true
			}
		}
	case structure:
		for _, field := range p.order {
			if field.tooDeep(v.FieldByIndex(field.index), depth+1) {
				return true
			}
		}
	}
	return false
}

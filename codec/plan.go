package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// plan is what a codec knows about a type: how its values are written, and what decoding them
// costs.
type plan struct {
	typ    reflect.Type
	form   form
	elem   *plan            // of a pointer, list or mapping
	key    *plan            // of a mapping
	fields []structField    // of a structure
	byName map[string]*plan // of a structure: the fields that a decoder accepts
	verify scalarCheck      // of a scalar, or nil

	recursive bool // values may contain values of the same type
	// watched says that values have to be checked before they are encoded: there is a scalar with a
	// check in them, or they may contain themselves.
	watched bool

	// Of the root of a plan only.
	methods []methodType // the types in it that have encoding methods of their own
	hasMap  bool
	densest int          // the memory that one element takes at most, in bytes
	stored  reflect.Type // JSON: see hideNothing
}

// form is how values of a type are written.
type form int

const (
	scalar    form = iota // numbers, strings, bools, bytes, times, raw JSON
	opaque                // by encoding methods of the type's own
	pointer               // null, or as the value that it points to
	list                  // slices and arrays
	mapping               // maps
	structure             // structs
)

// structField is a field of a structure, or of a struct that is embedded in it.
type structField struct {
	*plan
	index []int // for reflect.Value.FieldByIndex
}

// methodType is a type with encoding methods of its own, and where it was found first.
type methodType struct {
	typ  reflect.Type
	path string
}

// scalarCheck returns why a value cannot be encoded without loss.
type scalarCheck func(reflect.Value) error

var (
	timeType    = reflect.TypeFor[time.Time]()
	rawJSONType = reflect.TypeFor[json.RawMessage]()
)

// planner walks a type.
type planner struct {
	*dialect
	done  map[place]*plan // includes the types under way, so that recursive types end
	under map[place]bool  // the types under way
	root  *plan
}

// place is a type where it stands: values in maps have no address, so methods of pointers are not
// called on them.
type place struct {
	reflect.Type
	addressable bool
}

// newPlan returns the plan of a type, or the path of the first part that would be lost, and why.
func newPlan(t reflect.Type, d *dialect) (*plan, error) {
	p := planner{dialect: d, done: map[place]*plan{}, under: map[place]bool{}}
	root, err := p.plan(place{t, true}, typeName(t))
	if err == nil && d.finish != nil {
		err = d.finish(root)
	}
	return root, err
}

func typeName(t reflect.Type) string {
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}

func (p *planner) plan(at place, path string) (*plan, error) {
	if known := p.done[at]; known != nil {
		if p.under[at] {
			known.recursive, known.watched = true, true
		}
		return known, nil
	}
	made := &plan{typ: at.Type}
	if p.root == nil {
		p.root = made
	}
	p.done[at], p.under[at] = made, true
	err := p.fill(made, at, path)
	if made.elem != nil {
		p.root.densest = max(p.root.densest, made.elementMemory(1))
	}
	delete(p.under, at)
	return made, err
}

// part plans a part of made.
func (p *planner) part(made *plan, at place, path string) (*plan, error) {
	part, err := p.plan(at, path)
	made.watched = made.watched || part.watched
	return part, err
}

func (p *planner) fill(made *plan, at place, path string) (err error) {
	t := at.Type
	made.form, err = p.formOf(at)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch made.form {
	case scalar:
		made.verify = p.check(t)
		made.watched = made.verify != nil
	case opaque:
		p.root.methods = append(p.root.methods, methodType{t, path})
		p.root.hasMap = true // the methods may write one
	case pointer:
		made.elem, err = p.part(made, place{t.Elem(), true}, path)
	case list:
		elem := place{t.Elem(), at.addressable || t.Kind() == reflect.Slice}
		made.elem, err = p.part(made, elem, path+"[]")
	case mapping:
		p.root.hasMap = true
		if made.key, err = p.part(made, place{t.Key(), false}, path+"[key]"); err == nil {
			made.elem, err = p.part(made, place{t.Elem(), false}, path+"[]")
		}
	case structure:
		made.byName = map[string]*plan{}
		err = p.fillStruct(made, at, nil, path)
	}
	return err
}

// formOf returns how values of a type are written there, or why they would be lost.
func (p *planner) formOf(at place) (form, error) {
	t := at.Type
	if t == timeType || t == rawJSONType {
		return scalar, nil
	}
	if written, err := p.byMethods(at); written || err != nil {
		return opaque, err
	}
	switch kind := t.Kind(); {
	case isScalar(kind), p.isBytes(t):
		return scalar, nil
	case kind == reflect.Interface:
		return 0, errors.New("an interface does not name the type to decode: " +
			"use a concrete type or json.RawMessage")
	case kind == reflect.Pointer:
		return pointer, checkPointer(t)
	case kind == reflect.Slice, kind == reflect.Array:
		return list, nil
	case kind == reflect.Map:
		return mapping, p.checkKey(t.Key())
	case kind == reflect.Struct:
		return structure, nil
	default:
		return 0, fmt.Errorf("a %s cannot be stored", kind)
	}
}

func isScalar(k reflect.Kind) bool {
	return k == reflect.String || k >= reflect.Bool && k <= reflect.Float64 && k != reflect.Uintptr
}

// isBytes reports whether a type is a slice or array of plain bytes.
func (d *dialect) isBytes(t reflect.Type) bool {
	isList := t.Kind() == reflect.Slice || t.Kind() == reflect.Array
	return isList && t.Elem().Kind() == reflect.Uint8 && !d.hasMethods(t.Elem())
}

// checkPointer refuses a pointer to a type that has a nil of its own: both are written as one null.
func checkPointer(t reflect.Type) error {
	switch kind := t.Elem().Kind(); kind {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return fmt.Errorf("a nil pointer and a pointer to a nil %s would read back the same", kind)
	}
	return nil
}

func (d *dialect) checkKey(key reflect.Type) error {
	k := key.Kind()
	if (k == reflect.String || k >= reflect.Int && k <= reflect.Uint64) && !d.hasMethods(key) {
		return nil
	}
	return fmt.Errorf("a map's keys must be strings or integers without methods, not %s", key)
}

// fillStruct adds the fields of a struct, which is made's type or embedded in it at index.
func (p *planner) fillStruct(made *plan, at place, index []int, path string) error {
	for i := range at.NumField() {
		f := at.Field(i)
		f.Index = append(slices.Clone(index), i)
		if err := p.fillField(made, f, at.addressable, path+"."+f.Name); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) fillField(
	made *plan, f reflect.StructField, addressable bool, path string) error {
	name, inline, err := p.field(f, made == p.root && len(f.Index) == 1)
	switch {
	case !f.IsExported():
		err = errors.New("the field is not exported")
	case f.Anonymous && f.Type.Kind() == reflect.Pointer:
		err = errors.New("a nil embedded pointer would not stay nil: give the field a name")
	case err == nil && made.byName[name] != nil:
		err = fmt.Errorf("another field is called %q too", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	at := place{f.Type, addressable}
	field, err := p.part(made, at, path)
	if err != nil {
		return err
	}
	made.byName[name] = field
	if inline && field.form == structure {
		return p.fillStruct(made, at, f.Index, path)
	}
	made.fields = append(made.fields, structField{field, f.Index})
	return nil
}

// errOmitted refuses an option that leaves out values that are not zero.
var errOmitted = errors.New("its IsZero method could leave out more than the zero value: " +
	"remove the omit option")

// saysIsZero reports whether a type has an IsZero method of its own, which omit options call. That
// of a time is known.
func saysIsZero(t reflect.Type) bool {
	isZero := reflect.TypeFor[interface{ IsZero() bool }]()
	return t != timeType && (t.Implements(isZero) || reflect.PointerTo(t).Implements(isZero))
}

// byMethods reports whether values of a type are written by methods of its own there, or why they
// would be lost.
func (d *dialect) byMethods(at place) (bool, error) {
	t := at.Type
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return false, nil
	}
	first := func(side int) int {
		return slices.IndexFunc(d.methods, func(pair [2]reflect.Type) bool {
			return implements(t, pair[side])
		})
	}
	encodes, decodes := first(0), first(1)
	switch {
	case encodes != decodes:
		return true, errors.New("its methods to encode and to decode do not belong together")
	case encodes < 0:
		return false, d.checkType(t)
	case !at.addressable && !t.Implements(d.methods[encodes][0]):
		return true, fmt.Errorf("its encoding method needs a pointer, and a map has none: use *%s",
			typeName(t))
	}
	return true, nil
}

func implements(t, method reflect.Type) bool {
	return t.Implements(method) || reflect.PointerTo(t).Implements(method)
}

// hasMethods reports whether a type has any encoding method of its own.
func (d *dialect) hasMethods(t reflect.Type) bool {
	return slices.ContainsFunc(d.methods, func(pair [2]reflect.Type) bool {
		return implements(t, pair[0]) || implements(t, pair[1])
	}) || d.checkType(t) != nil
}

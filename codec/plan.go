package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// plan describes how values of a type are encoded, and how much memory decoding them takes.
type plan struct {
	typ    reflect.Type
	shape  shape
	elem   *plan            // of a pointer, list or mapping
	key    *plan            // of a mapping
	fields []structField    // of a structure
	byName map[string]*plan // of a structure: its fields by stored name
	verify scalarCheck      // of a scalar: run on each value before it is encoded, or nil

	recursive bool // values may contain values of the same type
	// needsCheck is true if values must be checked before they are encoded. The type is recursive,
	// or contains a scalar with a check.
	needsCheck bool

	// Set only in the root of a plan.
	methods    []methodType // the types with encoding methods
	hasMap     bool
	maxElement int          // the largest elementMemory(1) in the plan, in bytes
	stored     reflect.Type // JSON: see planHidden
}

// shape says how values of a type are encoded.
type shape int

const (
	scalar    shape = iota // numbers, strings, bools, bytes, times, raw JSON
	custom                 // by encoding methods of the type
	pointer                // null, or the value that it points to
	list                   // slices and arrays
	mapping                // maps
	structure              // structs
)

// structField is a field of a structure. It may come from an embedded struct.
type structField struct {
	*plan
	index []int // for reflect.Value.FieldByIndex
}

// methodType is a type with encoding methods, and the path where it was first found.
type methodType struct {
	typ  reflect.Type
	path string
}

// orMethods names the types whose methods encode and decode values of the plan, for an error text.
func (p *plan) orMethods() string {
	var names []string
	for _, m := range p.methods {
		names = append(names, m.typ.String())
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return " or a method of " + strings.Join(slices.Compact(names), ", ")
}

// scalarCheck returns why a value would not make the round trip, or nil.
type scalarCheck func(reflect.Value) error

var (
	timeType    = reflect.TypeFor[time.Time]()
	rawJSONType = reflect.TypeFor[json.RawMessage]()
)

// planner builds the plan of a type.
type planner struct {
	*format
	plans  map[typeAt]*plan // all plans so far, also unfinished ones
	active map[typeAt]bool  // types with unfinished plans; an active type is recursive if met again
	root   *plan
}

// typeAt is a type at a place in the payload. Map entries are not addressable, so their methods
// with pointer receivers are not called.
type typeAt struct {
	reflect.Type
	addressable bool
}

// newPlan returns the plan of a type. The error names the first part that would be lost, and why.
func newPlan(t reflect.Type, f *format) (*plan, error) {
	p := planner{format: f, plans: map[typeAt]*plan{}, active: map[typeAt]bool{}}
	root, err := p.plan(typeAt{t, true}, typeName(t))
	if err == nil {
		err = f.finish(root)
	}
	return root, err
}

func typeName(t reflect.Type) string {
	if t.Name() != "" {
		return t.Name()
	}
	return t.String()
}

func (p *planner) plan(at typeAt, path string) (*plan, error) {
	if known := p.plans[at]; known != nil {
		if p.active[at] {
			known.recursive, known.needsCheck = true, true
		}
		return known, nil
	}
	made := &plan{typ: at.Type}
	if p.root == nil {
		p.root = made
	}
	p.plans[at], p.active[at] = made, true
	err := p.fill(made, at, path)
	if made.elem != nil {
		p.root.maxElement = max(p.root.maxElement, made.elementMemory(1))
	}
	delete(p.active, at)
	return made, err
}

// part plans the type of an element, key or field of made.
func (p *planner) part(made *plan, at typeAt, path string) (*plan, error) {
	part, err := p.plan(at, path)
	made.needsCheck = made.needsCheck || part.needsCheck
	return part, err
}

func (p *planner) fill(made *plan, at typeAt, path string) (err error) {
	t := at.Type
	made.shape, err = p.shapeOf(at)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch made.shape {
	case scalar:
		made.verify = p.scalarCheck(t)
		made.needsCheck = made.verify != nil
	case custom:
		p.root.methods = append(p.root.methods, methodType{t, path})
		p.root.hasMap = true // the methods may encode a map
	case pointer:
		made.elem, err = p.part(made, typeAt{t.Elem(), true}, path)
	case list:
		elem := typeAt{t.Elem(), at.addressable || t.Kind() == reflect.Slice}
		made.elem, err = p.part(made, elem, path+"[]")
	case mapping:
		p.root.hasMap = true
		if made.key, err = p.part(made, typeAt{t.Key(), false}, path+"[key]"); err == nil {
			made.elem, err = p.part(made, typeAt{t.Elem(), false}, path+"[]")
		}
	case structure:
		made.byName = map[string]*plan{}
		err = p.fillStruct(made, at, nil, path)
	}
	return err
}

// shapeOf returns the shape of a type. The error says why values of the type would be lost.
func (p *planner) shapeOf(at typeAt) (shape, error) {
	t := at.Type
	if t == timeType || t == rawJSONType {
		return scalar, nil
	}
	if byMethods, err := p.byMethods(at); byMethods || err != nil {
		return custom, err
	}
	switch kind := t.Kind(); {
	case isScalar(kind), p.isBytes(t):
		return scalar, nil
	case kind == reflect.Interface:
		return 0, errors.New("an interface does not say which type to decode: " +
			"use a concrete type or json.RawMessage")
	case kind == reflect.Pointer:
		return pointer, checkPointer(t)
	case kind == reflect.Slice, kind == reflect.Array:
		return list, nil
	case kind == reflect.Map:
		return mapping, p.checkMapKey(t.Key())
	case kind == reflect.Struct:
		return structure, nil
	default:
		return 0, fmt.Errorf("a %s cannot be encoded", kind)
	}
}

func isScalar(k reflect.Kind) bool {
	return k == reflect.String || k >= reflect.Bool && k <= reflect.Float64 && k != reflect.Uintptr
}

// isBytes reports whether a type is a slice or array of plain bytes.
func (f *format) isBytes(t reflect.Type) bool {
	isList := t.Kind() == reflect.Slice || t.Kind() == reflect.Array
	return isList && t.Elem().Kind() == reflect.Uint8 && !f.hasMethods(t.Elem())
}

// checkPointer rejects a pointer to a type that can be nil, because both nils encode as null.
func checkPointer(t reflect.Type) error {
	switch kind := t.Elem().Kind(); kind {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return fmt.Errorf("a nil pointer and a pointer to a nil %s would decode to the same", kind)
	}
	return nil
}

func (f *format) checkMapKey(key reflect.Type) error {
	k := key.Kind()
	if (k == reflect.String || k >= reflect.Int && k <= reflect.Uint64) && !f.hasMethods(key) {
		return nil
	}
	return fmt.Errorf("a map's keys must be strings or integers without methods, not %s", key)
}

// fillStruct adds a struct's fields to made. The struct is made.typ, or embedded in it at index.
func (p *planner) fillStruct(made *plan, at typeAt, index []int, path string) error {
	for i := range at.NumField() {
		f := at.Field(i)
		if f.Name == "_" {
			continue // it has no value
		}
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
	case !f.IsExported() && !(inline && f.Type.Kind() == reflect.Struct):
		err = errors.New("the field is not exported")
	case f.Anonymous && f.Type.Kind() == reflect.Pointer:
		err = errors.New("an embedded nil pointer would not stay nil: name the field")
	case err == nil && made.byName[name] != nil:
		err = fmt.Errorf("another field is also stored as %q", name)
	case err == errHidden && p.root.typ == reflect.PointerTo(made.typ):
		err = fmt.Errorf("%w: use %s instead of %s", err, made.typ, p.root.typ)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	at := typeAt{f.Type, addressable}
	field, err := p.part(made, at, path)
	if err != nil {
		return err
	}
	made.byName[name] = field
	if inline && field.shape == structure {
		return p.fillStruct(made, at, f.Index, path)
	}
	if !f.IsExported() { // it has encoding methods, so its fields are not inlined
		return fmt.Errorf("%s: the field is not exported", path)
	}
	made.fields = append(made.fields, structField{field, f.Index})
	return nil
}

// errOmitted is returned for an omit option on a type with an IsZero method.
var errOmitted = errors.New("its IsZero method may omit values other than the zero value: " +
	"remove the omit option")

// hasIsZero reports whether an omit option would call an IsZero method of a type. IsZero of
// time.Time is true only for the zero time, so it is allowed.
func hasIsZero(t reflect.Type) bool {
	return t != timeType && implements(t, reflect.TypeFor[interface{ IsZero() bool }]())
}

// byMethods reports whether the methods of a type encode its values. The error says why the values
// would be lost.
func (f *format) byMethods(at typeAt) (bool, error) {
	t := at.Type
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return false, nil
	}
	if err := f.checkType(t); err != nil {
		return false, err
	}
	first := func(side int) int {
		return slices.IndexFunc(f.methods, func(pair [2]reflect.Type) bool {
			return implements(t, pair[side])
		})
	}
	encodes, decodes := first(0), first(1)
	switch {
	case encodes != decodes:
		return true, errors.New("its encoding and decoding methods are not a pair")
	case encodes < 0:
		return false, nil
	case !at.addressable && !t.Implements(f.methods[encodes][0]):
		return true, fmt.Errorf("its encoding method has a pointer receiver, "+
			"and map entries are not addressable: use *%s", typeName(t))
	}
	return true, nil
}

func implements(t, method reflect.Type) bool {
	return t.Implements(method) || reflect.PointerTo(t).Implements(method)
}

// hasMethods reports whether a type has any encoding or decoding method.
func (f *format) hasMethods(t reflect.Type) bool {
	return slices.ContainsFunc(f.methods, func(pair [2]reflect.Type) bool {
		return implements(t, pair[0]) || implements(t, pair[1])
	}) || f.checkType(t) != nil
}

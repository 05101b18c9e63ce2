package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
)

// JSON returns the codec that writes JSON, readable in the store by people and other programs. HTML's characters
// are not escaped. Top-level fields tagged `json:"-"` are stored under their Go name with a dash in front.
//
// A [json.RawMessage] keeps its JSON value: white space between tokens goes, and nil reads back as null. A
// string that is not UTF-8, or a number that is not finite, is an error: JSON has no words for it.
func JSON[T any]() Codec[T] {
	c := &jsonCodec[T]{}
	c.plan, c.refusal = newPlan(reflect.TypeFor[T](), jsonDialect)
	if c.refusal == nil {
		c.stored, c.refusal = storedType(reflect.TypeFor[T]())
	}
	if c.refusal == nil {
		c.refusal = prove(c, jsonDialect)
	}
	return c
}

type jsonCodec[T any] struct {
	plan    *plan
	stored  reflect.Type // a pointer to T with other tags, or nil if T can be written as it is
	refusal error
}

var jsonDialect = dialect{
	own: [][2]reflect.Type{
		{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()},
		{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()},
	},
	field: jsonField,
}

func jsonField(f reflect.StructField, top bool) (name string, mayOmit, inline bool, err error) {
	if hiddenInJSON(f) {
		if !top {
			return "", false, false, errors.New(`json:"-" hides the field, and only a payload's top level can store it still`)
		}
		return storedName(f), false, false, nil
	}
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		name, inline = f.Name, f.Anonymous
	}
	return name, strings.Contains(options, "omit"), inline, nil
}

func hiddenInJSON(f reflect.StructField) bool { return f.Tag.Get("json") == "-" }

// storedName is a name that no field without a tag can have.
func storedName(f reflect.StructField) string { return "-" + f.Name }

// storedType returns a pointer to a struct type that differs from t only in the tags of its hidden fields, to
// which Go converts a pointer to t without copying. It is nil when t hides nothing.
func storedType(t reflect.Type) (stored reflect.Type, err error) {
	if own, _ := jsonDialect.isOpaque(t); t.Kind() != reflect.Struct || own {
		return nil, nil
	}
	hides := false
	var fields []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		if hiddenInJSON(f) {
			hides = true
			f.Tag = reflect.StructTag(fmt.Sprintf(`json:%q`, storedName(f)))
		}
		fields = append(fields, f)
	}
	if !hides {
		return nil, nil
	}
	defer func() {
		if recover() != nil { // StructOf cannot carry every embedded type
			stored, err = nil, fmt.Errorf("%s: it embeds a type with methods beside a hidden field", typeName(t))
		}
	}()
	return reflect.PointerTo(reflect.StructOf(fields)), nil
}

// Name implements [Codec].
func (*jsonCodec[T]) Name() string { return "json" }

// Check says why T cannot be carried without loss.
func (c *jsonCodec[T]) Check() error { return c.refusal }

// view is what encoding/json gets in place of a *T.
func (c *jsonCodec[T]) view(v *T) any {
	if c.stored == nil {
		return v
	}
	return reflect.ValueOf(v).Convert(c.stored).Interface()
}

type jsonEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

// maxPooled is the size of the largest buffer that is kept for the next call.
const maxPooled = 64 << 10

var jsonEncoders = sync.Pool{New: func() any {
	e := &jsonEncoder{}
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	return e
}}

// Marshal implements [Codec].
func (c *jsonCodec[T]) Marshal(v T) ([]byte, error) {
	if err := c.plan.checkDepth(&v); err != nil {
		return nil, err
	}
	e := jsonEncoders.Get().(*jsonEncoder)
	defer func() {
		if e.buf.Cap() <= maxPooled {
			e.buf.Reset()
			jsonEncoders.Put(e)
		}
	}()
	if err := e.enc.Encode(c.view(&v)); err != nil {
		return nil, jsonError(err)
	}
	encoded := e.buf.Bytes()
	// What encoding/json writes for bytes that are not UTF-8 it writes for nothing else, but text may quote it.
	if bytes.Contains(encoded, []byte(`\ufffd`)) {
		if path := notUTF8(typeName(reflect.TypeFor[T]()), reflect.ValueOf(v)); path != "" {
			return nil, fmt.Errorf("%s: a string that is not UTF-8 cannot be written as JSON", path)
		}
	}
	return bytes.Clone(encoded[:len(encoded)-1]), nil // without the encoder's newline
}

// Unmarshal implements [Codec].
func (c *jsonCodec[T]) Unmarshal(data []byte) (v T, err error) {
	if err := json.Unmarshal(data, c.view(&v)); err != nil {
		var zero T
		return zero, jsonError(err)
	}
	return v, nil
}

// jsonError says what is wrong without what encoding/json, or a method of the payload's, quotes of it.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	var unsupported *json.UnsupportedValueError
	switch {
	case errors.As(err, &syntax):
		return &opaqueError{fmt.Sprintf("invalid JSON at byte %d", syntax.Offset), err}
	case errors.As(err, &mismatch):
		kind, _, _ := strings.Cut(mismatch.Value, " ")
		return &opaqueError{fmt.Sprintf("field %q is a %s and cannot hold this JSON %s", mismatch.Field, mismatch.Type, kind), err}
	case errors.As(err, &unsupported):
		return &opaqueError{"a value that JSON cannot hold, such as NaN or a cycle", err}
	}
	return &opaqueError{"a type's own JSON methods refused a value", err}
}

// notUTF8 returns the path of the first string in v that is not UTF-8, or "".
func notUTF8(path string, v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return pathIf(!utf8.ValidString(v.String()), path)
	case reflect.Pointer:
		if !v.IsNil() {
			return notUTF8(path, v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if found := notUTF8(path+"[]", v.Index(i)); found != "" {
				return found
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if found := notUTF8(path+"[key]", key) + notUTF8(path+"[]", v.MapIndex(key)); found != "" {
				return found
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if found := notUTF8(path+"."+v.Type().Field(i).Name, v.Field(i)); found != "" {
				return found
			}
		}
	}
	return ""
}

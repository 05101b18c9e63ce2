package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// JSON returns a codec that writes JSON, which people and other programs can read in the store. It
// does not escape HTML. A top-level field tagged `json:"-"` is stored as "-" and its Go name.
//
// Samples are values of types with encoding methods in T: see the package comment.
//
// Marshal returns an error for a value that JSON cannot hold: a string that is not UTF-8, an
// infinite float or NaN, and a time outside the years 0 to 9999. It also rejects a time whose zone
// offset has seconds. Local times before 1900 often have such an offset: convert them to UTC. A
// [json.RawMessage] keeps its value. White space between tokens is removed, and nil reads back as
// null. Marshal returns an error for a RawMessage that is empty but not nil.
func JSON[T any](samples ...any) Codec[T] { return newCodec[T](jsonFormat, samples) }

var (
	marshalJSON   = reflect.TypeFor[json.Marshaler]()
	unmarshalJSON = reflect.TypeFor[json.Unmarshaler]()
	marshalText   = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshalText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

var jsonFormat = &format{
	name: "json",
	methods: [][2]reflect.Type{
		{marshalJSON, unmarshalJSON},
		{marshalText, unmarshalText},
	},
	field:       jsonField,
	checkType:   checkJSONType,
	scalarCheck: jsonCheck,
	finish:      planHidden,
	encode:      encodeJSON,
	decode:      decodeJSON,
}

func jsonField(f reflect.StructField, top bool) (name string, inline bool, err error) {
	if hiddenInJSON(f) {
		if !top {
			return "", false, errHidden
		}
		return storedName(f), false, nil
	}
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if strings.ContainsFunc(name, unsafeInNames) {
		return "", false, fmt.Errorf("the json tag's name %q is not supported", name)
	}
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case option == "omitzero" && hasIsZero(f.Type):
			return "", false, errOmitted
		case option == "string" && isString(f.Type):
			return "", false, errors.New(`the json tag's option "string" is not for strings`)
		case !slices.Contains([]string{"", "omitempty", "omitzero", "string"}, option):
			return "", false, fmt.Errorf("the json tag's option %q is not supported", option)
		}
	}
	if name == "" {
		return f.Name, f.Anonymous, nil
	}
	return name, false, nil
}

// unsafeInNames reports whether Go versions disagree about a character in a tag's name.
func unsafeInNames(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.:/@#$%&*+", r)
}

// isString reports whether a type is a string or a pointer to a string. With the option "string",
// Go 1.27 decodes the text "null" as null.
func isString(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Pointer && isString(t.Elem())
}

// checkJSONType rejects json.Number, and types with encoding methods that only newer versions of Go
// call.
func checkJSONType(t reflect.Type) error {
	if t == reflect.TypeFor[json.Number]() {
		return errors.New("an empty json.Number reads back as 0: use json.RawMessage")
	}
	ptr := reflect.PointerTo(t)
	_, encodes := ptr.MethodByName("MarshalJSONTo")
	_, decodes := ptr.MethodByName("UnmarshalJSONFrom")
	if encodes && !implements(t, marshalJSON) || decodes && !implements(t, unmarshalJSON) ||
		implements(t, reflect.TypeFor[encoding.TextAppender]()) && !implements(t, marshalText) {
		return errors.New("only newer versions of Go call its encoding methods: " +
			"add MarshalText and UnmarshalText, or MarshalJSON and UnmarshalJSON")
	}
	return nil
}

var errHidden = errors.New(
	`json:"-" hides the field: only a struct that is the whole payload may have hidden fields`)

func hiddenInJSON(f reflect.StructField) bool { return f.Tag.Get("json") == "-" }

// storedName returns the stored name of a hidden field. No untagged field has such a name.
func storedName(f reflect.StructField) string { return "-" + f.Name }

// planHidden sets p.stored to a pointer type if the struct p.typ has hidden fields. Its struct is a
// copy of p.typ in which these fields have visible tags. Go converts a pointer to p.typ to this
// pointer type without copying.
func planHidden(p *plan) (err error) {
	if p.shape != structure {
		return nil
	}
	hides := false
	var fields []reflect.StructField
	for i := range p.typ.NumField() {
		f := p.typ.Field(i)
		if hiddenInJSON(f) {
			if p.recursive {
				return inPath(typeName(p.typ)+"."+f.Name, errHidden)
			}
			hides = true
			f.Tag = reflect.StructTag(fmt.Sprintf(`json:%q`, storedName(f)))
		}
		fields = append(fields, f)
	}
	if !hides {
		return nil
	}
	defer func() {
		if recover() != nil { // StructOf does not support every embedded type
			err = errors.New("a type with methods is embedded in a struct with a hidden field")
			err = inPath(typeName(p.typ), err)
		}
	}()
	p.stored = reflect.PointerTo(reflect.StructOf(fields))
	return nil
}

// view returns v as encoding/json shall see it: converted to p.stored if fields are hidden.
func (p *plan) view(v any) any {
	if p.stored == nil {
		return v
	}
	return reflect.ValueOf(v).Convert(p.stored).Interface()
}

func encodeJSON(p *plan, v any) ([]byte, error) {
	encoded, err := buffered(func(buf *bytes.Buffer) error {
		enc := json.NewEncoder(buf)
		enc.SetEscapeHTML(false)
		return enc.Encode(p.view(v))
	})
	if err != nil {
		return nil, jsonError(p, err)
	}
	encoded = bytes.TrimSuffix(encoded, []byte("\n"))
	if err := limitJSON(p, encoded); err != nil {
		return nil, err
	}
	return encoded, nil
}

func decodeJSON(p *plan, data []byte, v any) error {
	if err := limitJSON(p, data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, p.view(v)); err != nil {
		return jsonError(p, err)
	}
	return nil
}

// jsonError describes an error of encoding/json. It omits the original text, which may quote the
// payload.
func jsonError(p *plan, err error) error {
	var method *json.MarshalerError
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	var unsupported *json.UnsupportedValueError
	switch {
	case errors.As(err, &method):
		return rejected("an encoding method of "+method.Type.String(), err)
	case errors.As(err, &syntax):
		return &redactedError{fmt.Sprintf("invalid JSON at byte %d", syntax.Offset), err}
	case errors.As(err, &mismatch):
		kind, _, _ := strings.Cut(mismatch.Value, " ")
		// mismatch.Field is omitted: it may quote map keys.
		return &redactedError{fmt.Sprintf("the JSON %s before byte %d does not fit Go type %s",
			kind, mismatch.Offset, mismatch.Type), err}
	case errors.As(err, &unsupported):
		return &redactedError{"the value has no JSON form, such as NaN or a cycle", err}
	}
	return rejected("encoding/json"+p.orMethods(), err)
}

// jsonCheck returns the check for a type whose values JSON may lose, or nil.
func jsonCheck(t reflect.Type) scalarCheck {
	switch {
	case t == timeType:
		return checkZone
	case t == rawJSONType:
		return checkRawJSON
	case t.Kind() == reflect.String:
		return checkUTF8
	}
	return nil
}

var errNotUTF8 = errors.New("the string is not UTF-8, so JSON cannot hold it")

func checkUTF8(v reflect.Value) error {
	if !utf8.ValidString(v.String()) {
		return errNotUTF8
	}
	return nil
}

func checkZone(v reflect.Value) error {
	if _, offset := v.Interface().(time.Time).Zone(); offset%60 != 0 {
		return errors.New("JSON cannot hold a zone offset with seconds: use UTC")
	}
	return nil
}

func checkRawJSON(v reflect.Value) error {
	raw := v.Bytes()
	if !utf8.Valid(raw) {
		return errNotUTF8
	}
	// At most maxDepth levels surround this value. All levels together are at most maxReadDepth.
	if bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) > maxReadDepth-maxDepth {
		around := bytes.Repeat([]byte("["), maxDepth)
		if !json.Valid(slices.Concat(around, raw, bytes.Repeat([]byte("]"), maxDepth))) {
			return errors.New("raw JSON is invalid or nested too deeply")
		}
	}
	return nil
}

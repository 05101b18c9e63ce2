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

// JSON returns the codec that writes JSON, readable in the store by people and other programs.
// HTML's characters are not escaped. Top-level fields tagged `json:"-"` are stored under their Go
// name with a dash in front.
//
// Samples are values of types in T that have encoding methods of their own: see the package
// comment.
//
// Marshal refuses what JSON cannot hold: a string that is not UTF-8, a number that is not finite, a
// year beyond 9999, and a time whose zone is not whole minutes from UTC, as most were before 1900
// (use its UTC method). A [json.RawMessage] keeps its JSON value: white space between tokens goes,
// and nil reads back as null.
func JSON[T any](samples ...any) Codec[T] { return newPlain[T](jsonDialect, samples) }

var jsonDialect = &dialect{
	name: "json",
	methods: [][2]reflect.Type{
		{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()},
		{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()},
	},
	field:     jsonField,
	checkType: checkJSONType,
	check:     jsonCheck,
	finish:    hideNothing,
	encode:    encodeJSON,
	decode:    decodeJSON,
}

func jsonField(f reflect.StructField, top bool) (name string, inline bool, err error) {
	if hiddenInJSON(f) {
		if !top {
			return "", false, errHidden
		}
		return storedName(f), false, nil
	}
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if i := strings.IndexFunc(name, notInNames); i >= 0 {
		return "", false, fmt.Errorf("%q in the json tag's name is not supported", name[i])
	}
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case option == "omitzero" && saysIsZero(f.Type):
			return "", false, errOmitted
		case option == "string" && isString(f.Type):
			return "", false, errors.New(`the json tag's option "string" is not supported here`)
		case !slices.Contains([]string{"", "omitempty", "omitzero", "string"}, option):
			return "", false, fmt.Errorf("the json tag's option %q is not supported", option)
		}
	}
	if name == "" {
		return f.Name, f.Anonymous, nil
	}
	return name, false, nil
}

// notInNames reports whether a character in a tag means different things to versions of Go.
func notInNames(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.:/@#$%&*+", r)
}

// isString reports whether a type is a string or a pointer to one. With the option "string", Go
// 1.27 reads the string "null" as null.
func isString(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Pointer && isString(t.Elem())
}

// checkJSONType refuses types with encoding methods that only newer versions of encoding/json call.
func checkJSONType(t reflect.Type) error {
	ptr := reflect.PointerTo(t)
	_, encodes := ptr.MethodByName("MarshalJSONTo")
	_, decodes := ptr.MethodByName("UnmarshalJSONFrom")
	if encodes || decodes || implements(t, reflect.TypeFor[encoding.TextAppender]()) {
		return errors.New("not every version of Go calls its encoding methods: " +
			"add MarshalText and UnmarshalText, or MarshalJSON and UnmarshalJSON")
	}
	return nil
}

var errHidden = errors.New(`json:"-" hides the field, and it is not of the outermost struct`)

func hiddenInJSON(f reflect.StructField) bool { return f.Tag.Get("json") == "-" }

// storedName is a name that no field without a tag can have.
func storedName(f reflect.StructField) string { return "-" + f.Name }

// hideNothing sets p.stored to a pointer to a struct type that differs from the plan's only in the
// tags of its hidden fields. Go converts pointers between the two without copying. Without hidden
// fields it stays nil.
func hideNothing(p *plan) (err error) {
	if p.form != structure {
		return nil
	}
	hides := false
	var fields []reflect.StructField
	for i := range p.typ.NumField() {
		f := p.typ.Field(i)
		if hiddenInJSON(f) {
			if p.recursive {
				return below(typeName(p.typ)+"."+f.Name, errHidden)
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
		if recover() != nil { // StructOf cannot carry every embedded type
			err = errors.New("a type with methods is embedded beside a hidden field")
			err = below(typeName(p.typ), err)
		}
	}()
	p.stored = reflect.PointerTo(reflect.StructOf(fields))
	return nil
}

// view is what encoding/json gets in place of v.
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
		return nil, jsonError(err)
	}
	encoded = bytes.TrimSuffix(encoded, []byte("\n"))
	return encoded, measureJSON(p, encoded)
}

func decodeJSON(p *plan, data []byte, v any) error {
	if err := measureJSON(p, data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, p.view(v)); err != nil {
		return jsonError(err)
	}
	return nil
}

// jsonError says what is wrong. It leaves out what encoding/json, or a method of the payload's own,
// quotes of the payload.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	var unsupported *json.UnsupportedValueError
	switch {
	case errors.As(err, &syntax):
		return &opaqueError{fmt.Sprintf("invalid JSON at byte %d", syntax.Offset), err}
	case errors.As(err, &mismatch):
		// Its Field may quote the keys of maps.
		kind, _, _ := strings.Cut(mismatch.Value, " ")
		return &opaqueError{fmt.Sprintf("the JSON %s before byte %d does not fit a %s",
			kind, mismatch.Offset, mismatch.Type), err}
	case errors.As(err, &unsupported):
		return &opaqueError{"a value that JSON cannot hold, such as NaN or a cycle", err}
	}
	return &opaqueError{"a type's own JSON methods refused a value", err}
}

// jsonCheck returns the check for what encoding/json would write with a loss, or could not read
// back.
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

var errNotUTF8 = errors.New("a string that is not UTF-8 cannot be written as JSON")

func checkUTF8(v reflect.Value) error {
	if !utf8.ValidString(v.String()) {
		return errNotUTF8
	}
	return nil
}

func checkZone(v reflect.Value) error {
	if _, offset := v.Interface().(time.Time).Zone(); offset%60 != 0 {
		return errors.New("JSON cannot hold a zone that is not whole minutes from UTC: use UTC")
	}
	return nil
}

func checkRawJSON(v reflect.Value) error {
	raw := v.Bytes()
	if !utf8.Valid(raw) {
		return errNotUTF8
	}
	// Bytes may nest as deep as maxRead, with the levels around this value.
	if bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) > maxRead-2*maxDepth {
		around := bytes.Repeat([]byte("["), maxDepth)
		if !json.Valid(slices.Concat(around, raw, bytes.Repeat([]byte("]"), maxDepth))) {
			return errTooDeep
		}
	}
	return nil
}

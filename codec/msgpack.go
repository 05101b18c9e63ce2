package codec

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tinylib/msgp/msgp"
	"github.com/vmihailenco/msgpack/v5"
)

// Msgpack returns a codec that writes MessagePack, which is smaller and faster than JSON. It keeps
// strings and [encoding/json.RawMessage] byte for byte. A msgpack tag sets a field's stored name;
// json tags are ignored.
//
// Samples are values of types with encoding methods in T: see the package comment.
func Msgpack[T any](samples ...any) Codec[T] { return newCodec[T](msgpackFormat, samples) }

var msgpackFormat = &format{
	name: "msgpack",
	methods: [][2]reflect.Type{
		{reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder]()},
		{reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()},
		{reflect.TypeFor[encoding.BinaryMarshaler](),
			reflect.TypeFor[encoding.BinaryUnmarshaler]()},
		{marshalText, unmarshalText},
	},
	field:       msgpackField,
	checkType:   checkMsgpackType,
	scalarCheck: func(reflect.Type) scalarCheck { return nil },
	finish:      func(*plan) error { return nil },
	encode:      encodeMsgpack,
	decode:      decodeMsgpack,
}

// checkMsgpackType rejects arrays of a named byte type: the library may panic.
func checkMsgpackType(t reflect.Type) error {
	if t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8 &&
		t.Elem() != reflect.TypeFor[byte]() {
		return fmt.Errorf("an array of %s is not supported: use an array of byte", t.Elem())
	}
	return nil
}

func msgpackField(f reflect.StructField, _ bool) (name string, inline bool, err error) {
	tag := f.Tag.Get("msgpack")
	if strings.ContainsAny(tag, `:'\`) { // the library gives these characters a meaning
		return "", false, fmt.Errorf("the msgpack tag %q is not supported", tag)
	}
	name, options, _ := strings.Cut(tag, ",")
	inline = f.Anonymous
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case option == "noinline":
			inline = false
		case option == "omitempty" && hasIsZero(f.Type):
			return "", false, errOmitted
		case option != "" && option != "omitempty":
			return "", false, fmt.Errorf("the msgpack tag's option %q is not supported", option)
		}
	}
	switch name {
	case "-":
		return "", false, errors.New(`msgpack:"-" hides the field`)
	case "":
		name = f.Name
	}
	return name, inline, nil
}

func encodeMsgpack(p *plan, v any) ([]byte, error) {
	encoded, err := buffered(func(buf *bytes.Buffer) error {
		enc := msgpack.GetEncoder()
		defer msgpack.PutEncoder(enc)
		enc.Reset(buf)
		enc.UseCompactInts(true)
		return enc.Encode(v)
	})
	if err != nil {
		return nil, msgpackError(p, err)
	}
	if p.hasMap { // the library writes maps in random order
		if _, err := sortMaps(encoded); err != nil {
			return nil, err
		}
	}
	if p.mayExceed(len(encoded), len(encoded)) {
		if err := validateMsgpack(p, encoded); err != nil {
			return nil, err
		}
	}
	return encoded, nil
}

func decodeMsgpack(p *plan, data []byte, v any) error {
	if err := validateMsgpack(p, data); err != nil {
		return err
	}
	return msgpackError(p, msgpack.Unmarshal(data, v))
}

// msgpackError hides the text of an error that may come from an encoding method, because such a
// text may quote the payload. Errors of the library name only types and codes.
func msgpackError(p *plan, err error) error {
	if err == nil || len(p.methods) == 0 {
		return err
	}
	return rejected("the msgpack library"+p.orMethods(), err)
}

// sortMaps sorts each map in the first value of data, in place, by the bytes of the keys. It
// returns the bytes after that value.
func sortMaps(data []byte) (rest []byte, err error) {
	kind := msgp.NextType(data)
	if kind != msgp.ArrayType && kind != msgp.MapType {
		return msgp.Skip(data)
	}
	n, body, err := readLength(kind, data)
	if err != nil {
		return nil, err
	}
	if kind == msgp.MapType {
		return sortMap(n, body)
	}
	for range n {
		if body, err = sortMaps(body); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// sortMap sorts the n entries of a map at the start of body, and all maps in them. It returns the
// bytes after them.
func sortMap(n int, body []byte) (rest []byte, err error) {
	type entry struct{ key, whole []byte }
	entries := make([]entry, n)
	rest = body
	for i := range entries {
		start := rest
		if rest, err = sortMaps(rest); err != nil {
			return nil, err
		}
		key := start[:len(start)-len(rest)]
		if rest, err = sortMaps(rest); err != nil {
			return nil, err
		}
		entries[i] = entry{key, start[:len(start)-len(rest)]}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	sorted := make([]byte, 0, len(body)-len(rest))
	for _, e := range entries {
		sorted = append(sorted, e.whole...)
	}
	copy(body, sorted)
	return rest, nil
}

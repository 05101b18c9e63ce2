package codec

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// Msgpack returns the codec that writes MessagePack: smaller and faster than JSON. It carries any
// string and any [json.RawMessage] byte for byte. Fields are stored under their Go name or the name
// in a msgpack tag; json tags do not count.
//
// Samples are values of types in T that have encoding methods of their own: see the package
// comment.
func Msgpack[T any](samples ...any) Codec[T] { return newPlain[T](msgpackDialect, samples) }

var msgpackDialect = &dialect{
	name: "msgpack",
	methods: [][2]reflect.Type{
		{reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder]()},
		{reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()},
		{reflect.TypeFor[encoding.BinaryMarshaler](),
			reflect.TypeFor[encoding.BinaryUnmarshaler]()},
		{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()},
	},
	field:     msgpackField,
	checkType: func(reflect.Type) error { return nil },
	check:     func(reflect.Type) scalarCheck { return nil },
	encode:    encodeMsgpack,
	decode:    decodeMsgpack,
}

func msgpackField(f reflect.StructField, _ bool) (name string, inline bool, err error) {
	tag := f.Tag.Get("msgpack")
	if strings.ContainsAny(tag, `:'\`) { // the library reads more in it than a name and options
		return "", false, fmt.Errorf("the msgpack tag %q is not supported", tag)
	}
	name, options, _ := strings.Cut(tag, ",")
	inline = f.Anonymous
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case option == "noinline":
			inline = false
		case option == "omitempty" && saysIsZero(f.Type):
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
	if p.hasMap { // maps are written in random order
		if encoded, _, err = appendSorted(make([]byte, 0, len(encoded)), encoded); err != nil {
			return nil, err
		}
	}
	if p.mayTakeTooMuch(len(encoded), encoded) {
		err = measure(p, encoded)
	}
	return encoded, err
}

func decodeMsgpack(p *plan, data []byte, v any) error {
	if err := measure(p, data); err != nil {
		return err
	}
	return msgpackError(p, msgpack.Unmarshal(data, v))
}

// msgpackError says what is wrong. It leaves out what a method of the payload's own may quote of
// the payload; the library's errors name only types and codes.
func msgpackError(p *plan, err error) error {
	if err == nil || len(p.methods) == 0 {
		return err
	}
	return &opaqueError{"the library or a type's own methods refused a value", err}
}

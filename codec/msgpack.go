package codec

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Msgpack returns the codec that writes MessagePack: smaller and faster than JSON, and any string or
// [json.RawMessage] byte for byte. Fields stand under their Go name or that of a msgpack tag; json tags do not
// count.
func Msgpack[T any]() Codec[T] {
	c := &msgpackCodec[T]{}
	c.plan, c.refusal = newPlan(reflect.TypeFor[T](), msgpackDialect)
	if c.refusal == nil {
		c.bytesPerByte = allowance(c.plan)
		c.refusal = prove(c, msgpackDialect)
	}
	return c
}

type msgpackCodec[T any] struct {
	plan         *plan
	bytesPerByte int // see allowance
	refusal      error
}

var msgpackDialect = dialect{
	own: [][2]reflect.Type{
		{reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder]()},
		{reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()},
		{reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()},
		{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()},
	},
	field: msgpackField,
}

func msgpackField(f reflect.StructField, _ bool) (name string, mayOmit, inline bool, err error) {
	words := strings.Split(f.Tag.Get("msgpack"), ",")
	name, options := words[0], words[1:]
	if name == "-" {
		return "", false, false, fmt.Errorf(`msgpack:"-" hides the field`)
	}
	for _, option := range options {
		if option != "omitempty" && option != "inline" && option != "noinline" {
			return "", false, false, fmt.Errorf("the msgpack tag's option %q is not supported", option)
		}
	}
	if name == "" {
		name = f.Name
	}
	return name, slices.Contains(options, "omitempty"), f.Anonymous && !slices.Contains(options, "noinline"), nil
}

// Name implements [Codec].
func (*msgpackCodec[T]) Name() string { return "msgpack" }

// Check says why T cannot be carried without loss.
func (c *msgpackCodec[T]) Check() error { return c.refusal }

type msgpackEncoder struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

var msgpackEncoders = sync.Pool{New: func() any {
	e := &msgpackEncoder{}
	e.enc = msgpack.NewEncoder(&e.buf)
	e.enc.UseCompactInts(true)
	return e
}}

// Marshal implements [Codec].
func (c *msgpackCodec[T]) Marshal(v T) ([]byte, error) {
	if err := c.plan.checkDepth(&v); err != nil {
		return nil, err
	}
	e := msgpackEncoders.Get().(*msgpackEncoder)
	defer func() {
		if e.buf.Cap() <= maxPooled {
			e.buf.Reset()
			msgpackEncoders.Put(e)
		}
	}()
	if err := e.enc.Encode(&v); err != nil {
		return nil, msgpackError(err)
	}
	encoded := e.buf.Bytes()
	if c.plan.hasMap { // which come in random order
		return (&cursor{data: encoded}).sorted(make([]byte, 0, len(encoded))), nil
	}
	return bytes.Clone(encoded), nil
}

type msgpackDecoder struct {
	reader bytes.Reader
	dec    *msgpack.Decoder
}

var msgpackDecoders = sync.Pool{New: func() any {
	d := &msgpackDecoder{}
	d.dec = msgpack.NewDecoder(&d.reader)
	return d
}}

// Unmarshal implements [Codec].
func (c *msgpackCodec[T]) Unmarshal(data []byte) (v T, err error) {
	if err := c.measure(data); err != nil {
		return v, err
	}
	d := msgpackDecoders.Get().(*msgpackDecoder)
	d.reader.Reset(data)
	d.dec.Reset(&d.reader)
	err = d.dec.Decode(&v)
	d.reader.Reset(nil)
	if len(data) <= maxPooled {
		msgpackDecoders.Put(d)
	}
	if err != nil {
		var zero T
		return zero, msgpackError(err)
	}
	return v, nil
}

// msgpackError says what is wrong without what a method of the payload's may quote of it. The library's own
// errors tell types and codes only.
func msgpackError(err error) error {
	if strings.HasPrefix(err.Error(), "msgpack: ") {
		return err
	}
	return &opaqueError{"a type's own methods refused a value", err}
}

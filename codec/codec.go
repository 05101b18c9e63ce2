// Package codec turns payloads into bytes and back. A store writes with one codec, [JSON] or
// [Msgpack], and names it in every record:
//
//	store, err := pending.New(backend, codec.Msgpack[Job](), policy)
//
// # What comes back
//
// Both codecs are lossless: a payload comes back equal, with the fields that public JSON hides by
// `json:"-"`. Only these may differ: nil against empty slices and maps, and a time's location and
// monotonic reading.
//
// A codec accepts a type only if it can prove this, and pending.New refuses any other type with the
// field's path. Plain types are proven by their kind. A type with encoding methods of its own, such
// as MarshalText, is proven by values that must come back equal. The codec makes some up. Where it
// cannot, or makes up values that your program never has, give it samples:
//
//	codec.JSON[Order](decimal.RequireFromString("1.5"), SizeLarge)
//
// A payload with such types is also checked at each Marshal, which therefore costs a decode: a
// value that would not come back equal is an error, and nothing is lost in silence. Such values are
// equal by their method Equal, if they have one. A value of such a type must not contain itself.
//
// # Limits
//
// Values nest up to 1,000 levels. A payload takes at most 32 MiB of memory to decode, and 4 bytes
// more for each of its bytes. Marshal refuses a value that would take more with [ErrTooLarge].
//
// # Around another codec
//
// [Zstd] compresses what another codec writes. [Sealed] encrypts it, for one request only.
package codec

// Codec encodes payloads of one type. [JSON] and [Msgpack] keep these rules, and so must a codec of
// your own:
//
//   - It may be used concurrently.
//   - Equal payloads give equal bytes, so that a repeated report is recognised. Sort the keys of
//     maps.
//   - Unmarshal(Marshal(v)) equals v, with the exceptions that the package comment names.
//   - Unmarshal keeps no reference to the bytes. It refuses bytes that follow the value. Hostile
//     bytes are an error within memory in proportion to their number.
//   - The text of an error never quotes the payload, since errors end up in logs.
//
// A codec may also have a method Check() error, which says why T cannot be carried: see [Check].
type Codec[T any] interface {
	// Name stands in each record: 1 to 32 of [a-z0-9_.-]. A name always means the same format.
	Name() string
	// Marshal returns bytes that the caller owns.
	Marshal(T) ([]byte, error)
	Unmarshal([]byte) (T, error)
}

// ContextCodec is a [Codec] whose bytes are valid for one request only, such as [Sealed]. A store
// calls its methods in place of Marshal and Unmarshal, which return an error.
type ContextCodec[T any] interface {
	Codec[T]
	MarshalFor(Context, T) ([]byte, error)
	UnmarshalFor(Context, []byte) (T, error)
}

// Context says which payload is encoded. Its fields and their meaning are fixed for ever: bytes in
// storage depend on them.
type Context struct {
	Store   string // the policy's Name
	Mailbox string
	ID      string // the request's
	Part    Part
}

// Part says which of a request's payloads is encoded.
type Part string

// The parts of a request.
const (
	Question Part = "question" // written by the requester, at Create
	Answer   Part = "answer"   // written by the worker, as it ends the request
)

// Check returns why a codec cannot carry its payload type, or nil. The error names the field. A
// codec without a method Check() error passes.
func Check[T any](c Codec[T]) error {
	if checker, ok := c.(interface{ Check() error }); ok {
		return checker.Check()
	}
	return nil
}

// opaqueError is an error whose text leaves out its cause, which may quote the payload.
type opaqueError struct {
	text  string
	cause error
}

func (e *opaqueError) Error() string { return e.text }
func (e *opaqueError) Unwrap() error { return e.cause }

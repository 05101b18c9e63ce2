// Package codec turns payloads into bytes and back. A store writes with one codec, such as [JSON]
// or [Msgpack], and stores the codec's name in every record:
//
//	store, err := pending.New(backend, codec.Msgpack[Job](), policy)
//
// # Round trip
//
// JSON and Msgpack are lossless: a decoded payload equals the encoded one. This includes top-level
// fields tagged `json:"-"`. Only these may differ:
//
//   - A nil slice or map may become empty, and the reverse.
//   - A time may change its location, and loses its monotonic reading.
//   - JSON compacts a [encoding/json.RawMessage], and reads nil back as null.
//
// # Supported types
//
// A codec supports a type only if each value makes the round trip or is rejected by Marshal. For
// any other type pending.New returns an error that names the field. Plain types are checked by
// their kind. Types with encoding methods, such as MarshalText, are checked by encoding and
// decoding values. The codec generates these values. If it cannot generate valid values, pass
// samples:
//
//	codec.JSON[Order](decimal.RequireFromString("1.5"), SizeLarge)
//
// If a payload contains types with encoding methods, each Marshal also decodes its own output. It
// returns an error if the decoded value differs. Such types are compared by their method Equal, if
// they have that method. Their values must have no cycles.
//
// # Limits
//
// Values nest up to 1,000 levels. Decoding n bytes takes at most about 32 MiB + 4n bytes of memory.
// Marshal returns [ErrTooLarge] for a value whose decoding takes more. Decoding methods of the
// payload's types are not limited. A few bytes can decode to a large number, for example.
//
// # Wrappers
//
// [Zstd] compresses the output of another codec. [Sealed] encrypts it.
package codec

import "errors"

// Codec encodes payloads of one type. Every implementation must follow these rules:
//
//   - Its methods are safe for concurrent use.
//   - Equal payloads give equal bytes, so that a store recognises a repeated report. Sort map keys.
//   - Unmarshal(Marshal(v)) equals v, with the exceptions listed in the package comment.
//   - Unmarshal keeps no reference to its input, and returns an error for trailing bytes.
//   - For hostile input Unmarshal returns an error. Its memory is bounded by the size of the input.
//   - An error text never quotes the payload, because errors are logged.
//
// A codec may also have a method Check() error, which returns why T is not supported: see [Check].
type Codec[T any] interface {
	// Name is stored in each record: 1 to 32 of [a-z0-9_.-]. A name always means the same format.
	Name() string
	// Marshal returns bytes that the caller owns. It refuses the same values each time.
	Marshal(T) ([]byte, error)
	// Unmarshal decodes bytes that Marshal returned.
	Unmarshal([]byte) (T, error)
}

// ContextCodec is a [Codec] such as [Sealed]. Its bytes are valid only for the question or only for
// the answer of one request. A store calls MarshalFor and UnmarshalFor. Marshal and Unmarshal
// return an error. If MarshalFor lacks a key, its error wraps [ErrNoKey]. Any other error is about
// the value.
type ContextCodec[T any] interface {
	Codec[T]
	MarshalFor(Context, T) ([]byte, error)
	UnmarshalFor(Context, []byte) (T, error)
}

// Context identifies the payload to encode or decode. The meaning of a field never changes, since
// stored bytes depend on it.
type Context struct {
	Store   string // the policy's Name
	Mailbox string
	ID      string // the request's id
	Part    Part
}

// Part is the question or the answer of a request.
type Part string

// The parts of a request.
const (
	Question Part = "question" // of a live, timed out or cancelled request, also as progress
	Answer   Part = "answer"   // of a request that ended in another way
)

// ErrTooLarge means that a payload is over a limit of the codec. Marshal returned no bytes, or
// Unmarshal no value.
var ErrTooLarge = errors.New("payload is too large")

// Check returns nil if a codec supports its payload type. Otherwise its error names the field. A
// codec without a method Check() error passes.
func Check[T any](c Codec[T]) error { return check(c) }

func check(codecOrKeys any) error {
	if checker, ok := codecOrKeys.(interface{ Check() error }); ok {
		return checker.Check()
	}
	return nil
}

// redactedError hides the text of its cause, which may quote the payload.
type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.cause }

// rejected is the error of an encoding library or of a method.
func rejected(by string, err error) error { return &redactedError{by + " rejected a value", err} }

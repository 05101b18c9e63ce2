// Package codec turns payloads into bytes and back. A store has one codec that it writes with, [JSON] or
// [Msgpack], and names it in every record that it stores:
//
//	store, err := pending.New(backend, codec.Msgpack[Job](), policy)
//
// Both codecs carry a payload without loss: fields that public JSON hides with `json:"-"` are stored like all
// others. A type that would lose something is refused when a store is made, with the field's path.
package codec

// Codec encodes payloads of one type. Implementations of your own owe their callers what the two here keep:
//
//   - Concurrent use.
//   - Equal payloads give equal bytes, so that a repeated report is known for what it is. Sort the keys of maps.
//   - Unmarshal(Marshal(v)) equals v; nil and empty slices and maps, and a time's location and monotonic
//     reading, may differ.
//   - Unmarshal keeps nothing of the bytes that it gets, refuses what follows the value, and fails on hostile bytes
//     within memory in proportion to their number.
//   - No error's text quotes the payload, since errors end up in logs.
//
// A codec may also have a method Check() error, which pending.New calls and which says why T cannot be carried.
type Codec[T any] interface {
	// Name stands in each record: 1 to 32 of [a-z0-9_.-], never changed for bytes that mean something else.
	Name() string
	// Marshal returns bytes that the caller owns.
	Marshal(T) ([]byte, error)
	Unmarshal([]byte) (T, error)
}

// opaqueError is an error whose text leaves out what its cause may quote of a payload.
type opaqueError struct {
	text  string
	cause error
}

func (e *opaqueError) Error() string { return e.text }
func (e *opaqueError) Unwrap() error { return e.cause }

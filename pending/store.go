package pending

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// PendingStore is a store of requests whose payloads are T: the question and the answer in one
// type. Make one with [New]. It holds no state of its own, so every node makes its own over the
// same backend. It may be used concurrently.
type PendingStore[T any] struct {
	core
	codec  codec.Codec[T]            // writes
	codecs map[string]codec.Codec[T] // read, by name
}

// core is the part of a store that does not depend on T.
type core struct {
	backend   backends.Backend
	policy    Policy
	terms     backends.Terms
	noPending error // ErrNoPending with what was attempted, the answer to most polls
}

// Option changes how a store is made.
type Option[T any] func(*PendingStore[T]) error

// AlsoReads lets a store read payloads of these codecs, besides its own codec. To change the codec
// of a running system, let every node read the new codec, then let every node write it. Keep the
// old codec in AlsoReads for the longest lifetime of a request.
func AlsoReads[T any](codecs ...codec.Codec[T]) Option[T] {
	return func(s *PendingStore[T]) error {
		for _, c := range codecs {
			if err := s.reads(c); err != nil {
				return err
			}
		}
		return nil
	}
}

// New makes a store over a backend. It returns [ErrInvalid] for an invalid policy, and for a
// payload type that one of the codecs does not support. The error names the cause.
func New[T any](
	b backends.Backend, c codec.Codec[T], p Policy, opts ...Option[T]) (*PendingStore[T], error) {
	s := &PendingStore[T]{core: core{backend: b, policy: p, terms: p.terms()},
		codec: c, codecs: map[string]codec.Codec[T]{}}
	s.noPending = s.failed("pop", "", ErrNoPending)
	err := p.check()
	if isNil(b) {
		err = fmt.Errorf("%w: the backend is nil", ErrInvalid)
	}
	for _, opt := range append([]Option[T]{AlsoReads(c)}, opts...) {
		if err == nil {
			err = opt(s)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pending: new store %.80q: %w", p.Name, err)
	}
	return s, nil
}

// isNil reports whether an interface value is nil or holds a nil pointer.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// reads adds a codec to those that the store reads.
func (s *PendingStore[T]) reads(c codec.Codec[T]) error {
	if isNil(c) {
		return fmt.Errorf("%w: a codec is nil", ErrInvalid)
	}
	name := c.Name()
	if !validOutcome.MatchString(name) {
		return fmt.Errorf("%w: the codec's name %.40q is not 1 to 32 of [a-z0-9_.-]", ErrInvalid, name)
	}
	if s.codecs[name] != nil {
		return fmt.Errorf("%w: two codecs are named %q", ErrInvalid, name)
	}
	if err := codec.Check(c); err != nil {
		return fmt.Errorf("%w: codec %s: %w", ErrInvalid, name, err)
	}
	s.codecs[name] = c
	return nil
}

// errEncode is the error about a payload that cannot be stored.
var errEncode = errors.New("encode the payload")

// encode encodes a payload with the store's codec and checks its size. A ContextCodec needs the
// mailbox of the request.
func (s *PendingStore[T]) encode(
	payload T, id, mailbox string, part codec.Part) (encoded []byte, err error) {
	switch c, ok := s.codec.(codec.ContextCodec[T]); {
	case !ok:
		encoded, err = s.codec.Marshal(payload)
	case backends.Partition(mailbox) != backends.PartitionOf(id):
		err = fmt.Errorf("%w: mailbox %.80q does not belong to the request's id, "+
			"and the codec needs the mailbox", ErrInvalid, mailbox)
	default:
		about := codec.Context{Store: s.policy.Name, Mailbox: mailbox, ID: id, Part: part}
		encoded, err = c.MarshalFor(about, payload)
	}
	limit := cmp.Or(s.policy.MaxPayload, defaultMaxPayload)
	if err == nil && len(encoded) > limit {
		err = fmt.Errorf("%w: %d bytes, the store takes %d", ErrTooLarge, len(encoded), limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w as %s: %w", errEncode, s.codec.Name(), err)
	}
	return encoded, nil
}

// decode decodes the payload of a record with the codec that the record names.
func (s *PendingStore[T]) decode(rec backends.Record) (payload T, err error) {
	c := s.codecs[rec.Codec]
	if c == nil {
		return payload, fmt.Errorf("the store does not read codec %q: see AlsoReads", rec.Codec)
	}
	if c, ok := c.(codec.ContextCodec[T]); ok {
		about := codec.Context{Store: s.policy.Name, Mailbox: rec.Mailbox, ID: rec.ID,
			Part: partOf(Status(rec.Status))}
		return c.UnmarshalFor(about, rec.Payload)
	}
	return c.Unmarshal(rec.Payload)
}

// partOf returns which payload a request of this status holds. A timeout and a cancel keep what was
// stored while the request was live.
func partOf(status Status) codec.Part {
	if status.Ended() && status != StatusTimeout && status != StatusCancelled {
		return codec.Answer
	}
	return codec.Question
}

// request converts a record for the caller. With a DecodeError it returns all but the payload.
func (s *PendingStore[T]) request(rec backends.Record) (r *Request[T], err error) {
	r = head[T](rec)
	if r.Payload, err = s.decode(rec); err != nil {
		err = &DecodeError{Store: s.policy.Name, ID: rec.ID, Mailbox: rec.Mailbox,
			Attempt: rec.Attempt, Err: err}
	}
	return r, err
}

// head converts all of a record but its payload.
func head[T any](rec backends.Record) *Request[T] {
	return &Request[T]{
		ID: rec.ID, Mailbox: rec.Mailbox, Status: Status(rec.Status), Attempt: rec.Attempt,
		Error: rec.Error, Headers: rec.Headers, CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt,
		StartedAt: rec.StartedAt, Deadline: rec.Deadline,
	}
}

const maxName = 512 // bytes of a mailbox, an idempotency key or a claim id

func checkMailbox(mailbox string) error {
	switch {
	case mailbox == "":
		return fmt.Errorf("%w: the mailbox is empty", ErrInvalid)
	case len(mailbox) > maxName:
		return fmt.Errorf("%w: the mailbox has %d bytes, at most %d are allowed",
			ErrInvalid, len(mailbox), maxName)
	case !utf8.ValidString(mailbox):
		return fmt.Errorf("%w: the mailbox %q is not UTF-8", ErrInvalid, mailbox)
	}
	return nil
}

func checkID(id string) error {
	if err := backends.CheckID(id); err != nil {
		return fmt.Errorf("%w: id %.40q: %w", ErrInvalid, id, err)
	}
	return nil
}

// collect makes one struct of a call's options. Without options it does not allocate.
func collect[O any, F ~func(*O)](opts []F) (o O) {
	if len(opts) == 0 {
		return o
	}
	collected := new(O)
	for _, opt := range opts {
		opt(collected)
	}
	return *collected
}

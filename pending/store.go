package pending

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// PendingStore is a store of requests whose payloads are T: the question and the answer in one
// type. Make one with [New]. It holds no state of its own, so every node makes its own over the
// same backend, and it may be used concurrently.
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
func New[T any](b backends.Backend, c codec.Codec[T], p Policy, opts ...Option[T]) (*PendingStore[T], error) {
	s := &PendingStore[T]{core: core{backend: b, policy: p, terms: p.terms()}, codec: c, codecs: map[string]codec.Codec[T]{}}
	s.noPending = s.failed("pop", "", ErrNoPending)
	err := s.check()
	for _, opt := range opts {
		if err == nil {
			err = opt(s)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pending: new store %.80q: %w", p.Name, err)
	}
	return s, nil
}

func (s *PendingStore[T]) check() error {
	if isNil(s.backend) {
		return fmt.Errorf("%w: the backend is nil", ErrInvalid)
	}
	if err := s.policy.check(); err != nil {
		return err
	}
	return s.reads(s.codec)
}

// isNil reports whether an interface value is nil or holds a nil pointer.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

var validCodec = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`)

// reads adds a codec to those that the store reads.
func (s *PendingStore[T]) reads(c codec.Codec[T]) error {
	if isNil(c) {
		return fmt.Errorf("%w: a codec is nil", ErrInvalid)
	}
	if !validCodec.MatchString(c.Name()) {
		return fmt.Errorf("%w: the codec's name %.40q is not 1 to 32 of [a-z0-9_.-]", ErrInvalid, c.Name())
	}
	if s.codecs[c.Name()] != nil {
		return fmt.Errorf("%w: two codecs are named %q", ErrInvalid, c.Name())
	}
	if err := codec.Check(c); err != nil {
		return fmt.Errorf("%w: codec %s: %w", ErrInvalid, c.Name(), err)
	}
	s.codecs[c.Name()] = c
	return nil
}

// encode encodes a payload with the store's codec and checks its size. A ContextCodec needs the
// mailbox of the request.
func (s *PendingStore[T]) encode(
	payload T, id, mailbox string, part codec.Part) (encoded []byte, err error) {
	if c, ok := s.codec.(codec.ContextCodec[T]); !ok {
		encoded, err = s.codec.Marshal(payload)
	} else if backends.Partition(mailbox) != backends.PartitionOf(id) {
		err = fmt.Errorf("%w: mailbox %.80q does not belong to the request's id, "+
			"and the codec needs the mailbox", ErrInvalid, mailbox)
	} else {
		encoded, err = c.MarshalFor(s.contextOf(id, mailbox, part), payload)
	}
	if err != nil {
		return nil, &encodeError{fmt.Errorf("encode the payload as %s: %w", s.codec.Name(), err)}
	}
	if limit := s.policy.maxPayload(); len(encoded) > limit {
		return nil, &encodeError{fmt.Errorf("%w: %d bytes encoded, the store takes %d",
			ErrTooLarge, len(encoded), limit)}
	}
	return encoded, nil
}

// encodeError is the error about a payload that cannot be stored.
type encodeError struct{ error }

func (e *encodeError) Unwrap() error { return e.error }

// decode decodes the payload of a record with the codec that the record names.
func (s *PendingStore[T]) decode(rec backends.Record) (payload T, err error) {
	c := s.codecs[rec.Codec]
	if c == nil {
		return payload, fmt.Errorf("the store does not read codec %q: see AlsoReads", rec.Codec)
	}
	if c, ok := c.(codec.ContextCodec[T]); ok {
		part := partOf(Status(rec.Status))
		return c.UnmarshalFor(s.contextOf(rec.ID, rec.Mailbox, part), rec.Payload)
	}
	return c.Unmarshal(rec.Payload)
}

func (s *PendingStore[T]) contextOf(id, mailbox string, part codec.Part) codec.Context {
	return codec.Context{Store: s.policy.Name, Mailbox: mailbox, ID: id, Part: part}
}

// partOf returns which payload a request of this status holds. A timeout and a cancel keep what was
// stored while the request was live.
func partOf(status Status) codec.Part {
	if status.Ended() && status != StatusTimeout && status != StatusCancelled {
		return codec.Answer
	}
	return codec.Question
}

// request converts a record for the caller. Its error is a DecodeError.
func (s *PendingStore[T]) request(rec backends.Record) (*Request[T], error) {
	r := head[T](rec)
	payload, err := s.decode(rec)
	if err != nil {
		return nil, &DecodeError{Store: s.policy.Name, ID: rec.ID, Mailbox: rec.Mailbox,
			Attempt: rec.Attempt, Err: err}
	}
	r.Payload = payload
	return r, nil
}

// head converts all of a record but its payload.
func head[T any](rec backends.Record) *Request[T] {
	return &Request[T]{
		ID: rec.ID, Mailbox: rec.Mailbox, Status: Status(rec.Status), Attempt: rec.Attempt,
		Error: rec.Error, Headers: rec.Headers, CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt,
		StartedAt: rec.StartedAt, Deadline: rec.Deadline,
	}
}

// claims converts claimed records for the caller. Its error joins a DecodeError for each record that
// cannot be read.
func (s *PendingStore[T]) claims(records []backends.Record) (claims []*Claim[T], err error) {
	for _, rec := range records {
		r, decodeErr := s.request(rec)
		if decodeErr != nil {
			err = errors.Join(err, decodeErr)
			continue
		}
		claims = append(claims, claim(rec, r))
	}
	return claims, err
}

const (
	maxMailbox = 512 // bytes
	maxKey     = 512 // bytes of a caller's idempotency key or claim id
)

func checkMailbox(mailbox string) error {
	switch {
	case mailbox == "":
		return fmt.Errorf("%w: the mailbox is empty", ErrInvalid)
	case len(mailbox) > maxMailbox:
		return fmt.Errorf("%w: the mailbox has %d bytes, at most %d are allowed", ErrInvalid, len(mailbox), maxMailbox)
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

// checkKey checks a key that the caller made up.
func checkKey(what, key string) error {
	if key == "" || len(key) > maxKey {
		return fmt.Errorf("%w: the %s has %d bytes, want 1 to %d", ErrInvalid, what, len(key), maxKey)
	}
	return nil
}

// collect makes one struct of a call's options. Without any, as in most calls, it costs no
// allocation.
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

// cut shortens a text to at most n bytes of UTF-8.
func cut(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

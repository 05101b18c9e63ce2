package pending

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
)

// Policy configures a store. All nodes should give a store the same policy. While a change is
// rolled out, each operation uses the policy of the node that runs it. Deadlines that are already
// set do not change. The first three durations must each be between 1 ms and 10 years.
type Policy struct {
	Name string // of the store, in keys, errors and metrics: 1 to 64 of [a-z0-9_:.-]

	// PendingTimeout is how long a request may wait for a claim before it times out. If a lease
	// expires and attempts are left, the request may wait for another PendingTimeout.
	PendingTimeout time.Duration

	// RunningTimeout is how long a lease lasts after a claim or an Extend. Then the request can be
	// claimed again, if MaxAttempts allows it. Otherwise the request times out.
	RunningTimeout time.Duration

	Retention time.Duration // how long a request stays readable after it has ended or timed out

	// CancelGrace is how long a worker may still end its request after a Cancel, at most 10 years.
	// It does not lengthen the lease. 0: a Cancel ends a running request at once.
	CancelGrace time.Duration

	MaxAttempts int  // how often a request may be claimed, at most 9,999. 0 or 1: once
	Exclusive   bool // allows a mailbox one live request. Create of another returns [BusyError]
	MaxPending  int  // how many claimable requests a mailbox may have, else [ErrFull]. 0: no limit
	MaxPayload  int  // bytes of an encoded payload, at most 256 MiB, else [ErrTooLarge]. 0: 16 MiB

	// Outcomes are the store's own statuses of ended requests: see Finish. Each has 1 to 32 of
	// [a-z0-9_.-] and differs from the statuses of this package.
	Outcomes []Status
}

// PendingStore is a store of requests. A payload of type T holds the question and the answer. Make
// one with [New]. All state is in the backend, so each node makes a PendingStore over the same
// backend. It may be used concurrently.
type PendingStore[T any] struct {
	core
	codec  codec.Codec[T]            // encodes payloads
	codecs map[string]codec.Codec[T] // decode payloads, by name
}

// core is the part of a store that does not depend on T.
type core struct {
	backend   backends.Backend
	policy    Policy
	terms     backends.Terms
	noPending error // ErrNoPending with the name of the store: most polls return it
}

// Option configures a store in New.
type Option[T any] func(*PendingStore[T]) error

// AlsoReads lets a store read payloads of these codecs besides its own. To change the codec of a
// running system, first let every node read the new codec, then let every node write it. Keep the
// old codec in AlsoReads for the longest lifetime of a request.
func AlsoReads[T any](codecs ...codec.Codec[T]) Option[T] {
	return func(s *PendingStore[T]) error {
		for _, c := range codecs {
			if check.IsNil(c) {
				return check.Invalid("a codec is nil")
			}
			name := c.Name()
			if err := check.Name("codec name", name); err != nil {
				return err
			}
			if s.codecs[name] != nil {
				return check.Invalid("two codecs are named %q", name)
			}
			if err := codec.Check(c); err != nil {
				return check.Invalid("codec %s: %w", name, err)
			}
			s.codecs[name] = c
		}
		return nil
	}
}

// New makes a store over a backend. It returns [ErrInvalid] for an invalid policy, and for a
// payload type that one of the codecs does not support. The error names the cause.
func New[T any](
	b backends.Backend, c codec.Codec[T], p Policy, opts ...Option[T]) (*PendingStore[T], error) {
	s := &PendingStore[T]{core: core{backend: b, policy: p, terms: p.Terms()},
		codec: c, codecs: map[string]codec.Codec[T]{}}
	s.policy.Outcomes = slices.Clone(p.Outcomes)
	s.noPending = s.failed("pop", "", ErrNoPending)
	err := p.check()
	if check.IsNil(b) {
		err = check.Invalid("the backend is nil")
	}
	for _, opt := range append([]Option[T]{AlsoReads(c)}, opts...) {
		if err == nil && opt != nil {
			err = opt(s)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pending: new store %.80q: %w", p.Name, err)
	}
	return s, nil
}

var validName = regexp.MustCompile(`^[a-z0-9_:.-]{1,64}$`)

// check returns an error that names a field with an invalid value.
func (p Policy) check() error {
	if !validName.MatchString(p.Name) {
		return check.Invalid("Policy.Name %.80q is not 1 to 64 of [a-z0-9_:.-]", p.Name)
	}
	taken := []Status{StatusPending, StatusRunning, StatusCompleted, StatusFailed, StatusTimeout,
		StatusCancelled}
	for _, o := range p.Outcomes {
		if err := check.Name("Policy.Outcomes", string(o)); err != nil {
			return err
		}
		if slices.Contains(taken, o) {
			return check.Invalid("Policy.Outcomes: %q is taken", o)
		}
		taken = append(taken, o)
	}
	return cmp.Or(
		check.Range("Policy.PendingTimeout", p.PendingTimeout, time.Millisecond, check.MaxDuration),
		check.Range("Policy.RunningTimeout", p.RunningTimeout, time.Millisecond, check.MaxDuration),
		check.Range("Policy.Retention", p.Retention, time.Millisecond, check.MaxDuration),
		check.Range("Policy.CancelGrace", p.CancelGrace, 0, check.MaxDuration),
		check.Range("Policy.MaxAttempts", p.MaxAttempts, 0, check.MaxAttempts),
		check.Range("Policy.MaxPending", p.MaxPending, 0, math.MaxInt32),
		check.Range("Policy.MaxPayload", p.MaxPayload, 0, 256<<20))
}

// Terms returns the part of the policy that a backend applies. A store hands it to its backend with
// each operation. Only a package that calls backends itself needs it.
func (p Policy) Terms() backends.Terms {
	return backends.Terms{Store: p.Name, MaxAttempts: max(p.MaxAttempts, 1),
		Exclusive: p.Exclusive, MaxPending: p.MaxPending,
		PendingTimeout: p.PendingTimeout.Truncate(time.Microsecond),
		RunningTimeout: p.RunningTimeout.Truncate(time.Microsecond),
		Retention:      p.Retention.Truncate(time.Microsecond)}
}

// encode encodes a payload with the store's codec and checks its size. For a ContextCodec it also
// checks that the request's id belongs to the mailbox. A codec refuses a payload for good, unless
// only a key is missing.
func (s *PendingStore[T]) encode(
	payload T, id, mailbox string, part codec.Part) (encoded []byte, err error) {
	switch c, ok := s.codec.(codec.ContextCodec[T]); {
	case !ok:
		encoded, err = s.codec.Marshal(payload)
	case backends.Partition(mailbox) != backends.PartitionOf(id):
		return nil, check.Invalid("the request's id is not of mailbox %.80q", mailbox)
	default:
		about := codec.Context{Store: s.policy.Name, Mailbox: mailbox, ID: id, Part: part}
		encoded, err = c.MarshalFor(about, payload)
	}
	if err == nil {
		err = check.Payload(encoded, cmp.Or(s.policy.MaxPayload, check.MaxPayload))
	}
	if err == nil {
		return encoded, nil
	}
	if !errors.Is(err, ErrTooLarge) && !errors.Is(err, codec.ErrNoKey) {
		err = check.Invalid("%w", err)
	}
	return nil, fmt.Errorf("encode the payload as %s: %w", s.codec.Name(), err)
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

// partOf returns the Part of the payload of a request with this status. A timeout and a Cancel keep
// the payload of the live request.
func partOf(status Status) codec.Part {
	if status.Ended() && status != StatusTimeout && status != StatusCancelled {
		return codec.Answer
	}
	return codec.Question
}

// request converts a backend's result. With a DecodeError the Request has no payload.
func (s *PendingStore[T]) request(rec backends.Record, err error) (*Request[T], error) {
	if err != nil {
		return nil, err
	}
	r := new(Request[T])
	return r, s.read(rec, r)
}

func (s *PendingStore[T]) read(rec backends.Record, r *Request[T]) error {
	payload, err := s.decode(rec)
	if err != nil {
		err = &DecodeError{Store: s.policy.Name, ID: rec.ID, Mailbox: rec.Mailbox,
			Attempt: rec.Attempt, Err: err}
	}
	*r = Request[T]{ID: rec.ID, Mailbox: rec.Mailbox, Status: Status(rec.Status),
		Attempt: rec.Attempt, Payload: payload, Error: rec.Error, Headers: rec.Headers,
		CreatedAt: rec.CreatedAt, UpdatedAt: rec.UpdatedAt, StartedAt: rec.StartedAt,
		Deadline: rec.Deadline, CancelRequested: rec.CancelledAs != "",
		CancelReason: rec.CancelReason}
	if r.Status == StatusCancelled {
		r.CancelRequested, r.CancelReason = true, r.Error
	}
	return err
}

// collect applies the options of a call to one struct. Without options it does not allocate.
func collect[O any, F ~func(*O)](opts []F) (o O) {
	if len(opts) == 0 {
		return o
	}
	collected := new(O)
	for _, opt := range opts {
		if opt != nil {
			opt(collected)
		}
	}
	return *collected
}

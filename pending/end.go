package pending

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// The operations here change a request that r names with its ID and Attempt; of r they read only
// these and, where said, Payload; but for Timeout they hand Mailbox on as a hint. When several
// reasons refuse it is, in this order, [ErrNotFound], [ErrEnded], [ErrStaleClaim].
//
// An ending may be repeated, from any node: the same attempt, outcome and content again is the
// first one's success.

const (
	maxReason    = 16 << 10 // bytes
	gaveUpReason = "timed out: the requester gave up waiting"
)

// Extend says that the worker of a running request is still at it: its deadline becomes now plus
// the policy's RunningTimeout. It refuses with [ErrStaleClaim] when the claim lapsed or is
// another's by now, and with [ErrEnded] past the last deadline. It leaves r untouched.
func (s *PendingStore[T]) Extend(ctx context.Context, r *Request[T]) error {
	if err := checkRequest(r); err != nil {
		return s.failed("extend", "", err)
	}
	if err := s.backend.Extend(ctx, backends.Extend{Terms: s.terms, ID: r.ID, Attempt: r.Attempt,
		Mailbox: r.Mailbox}); err != nil {
		return s.failed("extend", r.ID, err)
	}
	return nil
}

// Complete ends a request well and stores r.Payload as its answer. A request that was never
// claimed, at attempt 0, may be completed too, and leaves the queue. On success it sets r's Status,
// Error and UpdatedAt, as Fail, Finish and Timeout do.
func (s *PendingStore[T]) Complete(ctx context.Context, r *Request[T]) error {
	return s.end(ctx, "complete", r, StatusCompleted, "")
}

// Fail ends a request that could not be done and stores r.Payload and why, for people. A reason is
// cut after 16 KiB, and bytes in it that are not UTF-8 are replaced.
func (s *PendingStore[T]) Fail(ctx context.Context, r *Request[T], reason string) error {
	return s.end(ctx, "fail", r, StatusFailed, cut(reason, maxReason))
}

// Finish ends a request in a way that the policy declares in Outcomes, and stores r.Payload. Any
// other outcome is [ErrInvalid].
func (s *PendingStore[T]) Finish(ctx context.Context, r *Request[T], outcome Status) error {
	if !slices.Contains(s.policy.Outcomes, outcome) {
		return s.failed("finish", "", fmt.Errorf("%w: outcome %.40q is not among Policy.Outcomes", ErrInvalid, outcome))
	}
	return s.end(ctx, "finish", r, outcome, "")
}

// Timeout ends a request because its requester gives up, whatever its attempt, and stores no
// payload.
func (s *PendingStore[T]) Timeout(ctx context.Context, r *Request[T]) error {
	if err := checkRequest(r); err != nil {
		return s.failed("time out", "", err)
	}
	return s.conclude(ctx, "time out", r, backends.End{Terms: s.terms, ID: r.ID, Outcome: string(StatusTimeout),
		Error: gaveUpReason, GiveUp: true})
}

// end ends a request at r's attempt with r's payload.
func (s *PendingStore[T]) end(ctx context.Context, operation string, r *Request[T], outcome Status, reason string) error {
	if err := checkRequest(r); err != nil {
		return s.failed(operation, "", err)
	}
	encoded, err := s.encode(r.Payload, r.ID, r.Mailbox, codec.Answer)
	if err != nil {
		return s.failed(operation, r.ID, err)
	}
	return s.conclude(ctx, operation, r, backends.End{Terms: s.terms, ID: r.ID, Mailbox: r.Mailbox, Outcome: string(outcome),
		Error: reason, Attempt: r.Attempt, Codec: s.codec.Name(), Payload: encoded})
}

// conclude has the backend end a request and shows it in r.
func (s *PendingStore[T]) conclude(ctx context.Context, operation string, r *Request[T], end backends.End) error {
	at, err := s.backend.End(ctx, end)
	if err != nil {
		var ended *backends.EndedError
		if !errors.As(err, &ended) || !s.repeats(end, ended.Record) {
			return s.failed(operation, r.ID, err)
		}
		at = ended.Record.UpdatedAt
	}
	r.Status, r.Error, r.UpdatedAt = Status(end.Outcome), end.Error, at
	return nil
}

// repeats reports whether an ending says what the stored one said.
func (s *PendingStore[T]) repeats(end backends.End, stored backends.Record) bool {
	if stored.Status != end.Outcome || stored.Error != end.Error {
		return false
	}
	return end.GiveUp || stored.Attempt == end.Attempt && s.sameContent(end, stored)
}

// sameContent compares payloads. Bytes of equal payloads differ where nodes write with different
// codecs or keys, as while these are changed. So each payload is also compared as the other's codec
// would write it now.
func (s *PendingStore[T]) sameContent(end backends.End, stored backends.Record) bool {
	if stored.Codec == end.Codec && bytes.Equal(stored.Payload, end.Payload) {
		return true
	}
	repeat := stored
	repeat.Codec, repeat.Payload = end.Codec, end.Payload
	return s.rewrites(stored, repeat) || s.rewrites(repeat, stored)
}

// rewrites reports whether a record's payload, written as another's, is the other's.
func (s *PendingStore[T]) rewrites(rec, other backends.Record) bool {
	c := s.codecs[other.Codec]
	payload, err := s.decode(rec)
	if err != nil || c == nil {
		return false
	}
	encoded, err := s.encodeWith(c, payload, rec.ID, rec.Mailbox, partOf(rec))
	return err == nil && bytes.Equal(encoded, other.Payload)
}

func checkRequest[T any](r *Request[T]) error {
	if r == nil {
		return fmt.Errorf("%w: the request is nil", ErrInvalid)
	}
	if r.Attempt < 0 || r.Attempt > maxAttempts {
		return fmt.Errorf("%w: the request's attempt is %d", ErrInvalid, r.Attempt)
	}
	return checkID(r.ID)
}

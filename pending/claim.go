package pending

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/internal/lease"
)

// Claim is a request that a worker holds. Only the pops and [PendingStore.Held] make one. A worker
// sets the answer in Payload and then calls Complete.
//
// All operations on a Claim apply to its Attempt and StartedAt, and need its Mailbox: change none
// of them. A worker whose lease has expired may still end the request until it times out or another
// worker claims it. If several errors apply, the order is [ErrNotFound], [ErrEnded],
// [ErrStaleClaim]. A retry of an ending succeeds, from any node, with the same outcome, reason and
// payload. A Claim must not be used concurrently, except by the Worker of a handler.
type Claim[T any] struct {
	Request[T]

	// CancelRequested is true after a Cancel. CancelReason is the reason. The pop or
	// Held sets both, and so do Extend and Progress. Progress in a handler of a [Worker] does not.
	CancelRequested bool
	CancelReason    string

	held  bool          // made by a pop or by Held
	left  time.Duration // the rest of the lease when the claim was made
	lease *lease.Lease  // shared with the Worker of the claim; nil without one
}

func (s *PendingStore[T]) claim(rec backends.Record) (*Claim[T], error) {
	c := &Claim[T]{held: true, left: rec.Deadline.Sub(rec.ReadAt),
		CancelRequested: rec.CancelledAs != "", CancelReason: rec.CancelReason}
	if rec.Status == backends.StatusCancelled { // for a repeat of Finish
		c.CancelRequested, c.CancelReason = true, rec.Error
	}
	return c, s.read(rec, &c.Request)
}

// id returns the claim's ID, or "" if the claim is nil.
func (c *Claim[T]) id() string {
	if c == nil {
		return ""
	}
	return c.ID
}

// check returns an error for a claim that is nil, malformed, or not from a pop or Held.
func (c *Claim[T]) check() error {
	if c == nil {
		return check.Invalid("the claim is nil")
	}
	if !c.held {
		return check.Invalid("the claim was not made by a pop or by Held")
	}
	return cmp.Or(check.ID(c.ID),
		check.Range("the claim's attempt", c.Attempt, 0, check.MaxAttempts))
}

// inTurn operates on a claim. In a handler it waits for the Worker, and tells it of a claim's end.
func (c *Claim[T]) inTurn(ctx context.Context, operate func() error) error {
	if c == nil || c.lease == nil {
		return operate()
	}
	if err := c.lease.Take(ctx); err != nil {
		return err
	}
	defer c.lease.Leave()
	if c.lease.Cancelled {
		c.CancelRequested, c.CancelReason = true, c.lease.Reason
	}
	err := operate()
	c.lease.Over = c.lease.Over || c.Status != StatusRunning
	return err
}

// AnyAttempt makes Held return the claim of the latest attempt, for reports without an attempt. If
// the store's MaxAttempts is more than 1, Held returns [ErrInvalid]: otherwise a late report could
// end the claim of another worker.
const AnyAttempt = -1

// Held returns the claim of a worker that reports over a network. When a report arrives, an API
// node calls Held with the attempt in the report, sets the answer in Payload, and calls Complete.
// Attempt 0 stands for a request that was never claimed.
//
// Held returns [ErrNotFound] if there is no such request, and [ErrStaleClaim] if the attempt is not
// the latest. Held also returns a request that has ended, so that a report can be retried: Complete
// then succeeds for the same answer, and returns [ErrEnded] for any other answer. If a report has
// side effects, check Status.Ended first. If a key may be used again while a worker is still
// silent, let the report carry the claim's StartedAt, and refuse it if Held's StartedAt differs.
//
// If the payload cannot be decoded, Held returns the claim without its payload together with a
// [DecodeError]. Fail can still end such a request.
func (s *PendingStore[T]) Held(
	ctx context.Context, id string, attempt int, opts ...GetOption) (c *Claim[T], err error) {
	defer s.wrap(&err, "load the claim of", id)
	err = check.Range("the attempt", attempt, AnyAttempt, check.MaxAttempts)
	if attempt == AnyAttempt && s.terms.MaxAttempts > 1 {
		err = check.Invalid("AnyAttempt needs a store whose MaxAttempts is 1")
	}
	if err != nil {
		return nil, err
	}
	rec, err := s.get(ctx, id, opts)
	if err != nil {
		return nil, err
	}
	if attempt != AnyAttempt && attempt != rec.Attempt {
		return nil, fmt.Errorf("%w: the latest is %d, not %d", ErrStaleClaim, rec.Attempt, attempt)
	}
	return s.claim(rec)
}

// Extend renews the lease of a claim: the deadline becomes now plus the policy's RunningTimeout.
// After a cancel it keeps the deadline. It sets c's Deadline, UpdatedAt, CancelRequested and
// CancelReason. Extend returns [ErrStaleClaim] if the lease has expired or another worker has
// claimed the request, and [ErrEnded] if the request has ended or timed out.
func (s *PendingStore[T]) Extend(ctx context.Context, c *Claim[T]) (err error) {
	defer s.wrap(&err, "extend", c.id())
	return c.inTurn(ctx, func() error { return s.extend(ctx, c, backends.Extend{}) })
}

// Progress is an Extend that also stores c.Payload, such as a partial answer or a checkpoint. The
// requester can read it, and the next attempt receives it. Calls for one claim must not overlap. In
// a handler of a [Worker], Progress hands the payload to the Worker and returns at once. The Worker
// sends it later. If ctx has ended, Progress returns the cause.
func (s *PendingStore[T]) Progress(ctx context.Context, c *Claim[T]) (err error) {
	defer s.wrap(&err, "store progress", c.id())
	if err := c.check(); err != nil {
		return err
	}
	encoded, err := s.encode(c.Payload, c.ID, c.Mailbox, codec.Question)
	if err != nil {
		return err
	}
	progress := backends.Extend{Codec: s.codec.Name(), Payload: encoded}
	switch {
	case c.lease == nil:
		return s.extend(ctx, c, progress)
	case c.Status.Ended(): // by the handler, so the Worker sends nothing more
		return ErrEnded
	case c.Status != StatusRunning:
		return ErrStaleClaim
	}
	c.lease.SendLater(progress)
	return context.Cause(ctx)
}

// Release hands a request back. Until the pause is over the request still reads as running, and a
// cancel waits for its grace. Then another worker can claim it; a pause of 0 means at once. A
// worker releases a request if it shuts down, or if another attempt may succeed. Release keeps the
// stored payload. On the last attempt it returns [ErrInvalid]. If a cancel was requested, Release
// ends the request as cancelled instead, and stores c.Payload.
func (s *PendingStore[T]) Release(
	ctx context.Context, c *Claim[T], pause time.Duration) (err error) {
	defer s.wrap(&err, "release", c.id())
	if err := cmp.Or(c.check(), check.Range("the pause", pause, 0, check.MaxDuration)); err != nil {
		return err
	}
	return c.inTurn(ctx, func() error { return s.release(ctx, c, pause) })
}

func (s *PendingStore[T]) release(ctx context.Context, c *Claim[T], pause time.Duration) error {
	if !c.CancelRequested {
		if c.Attempt >= s.terms.MaxAttempts {
			return check.Invalid("attempt %d is the last", c.Attempt)
		}
		x := *c.lease.Unsent()
		x.Release, x.After = true, pause.Truncate(time.Microsecond)
		if err := s.extend(ctx, c, x); err != nil {
			return err
		}
	}
	if c.CancelRequested {
		return s.end(ctx, c, StatusCancelled, c.CancelReason)
	}
	c.Status = StatusPending
	return nil
}

func (s *PendingStore[T]) extend(ctx context.Context, c *Claim[T], x backends.Extend) error {
	if err := c.check(); err != nil {
		return err
	}
	x.Terms, x.ID, x.Mailbox = s.terms, c.ID, c.Mailbox
	x.Attempt, x.StartedAt = c.Attempt, c.StartedAt
	extended, err := s.backend.Extend(ctx, x)
	if err == nil {
		c.UpdatedAt, c.Deadline = extended.UpdatedAt, extended.Deadline
		c.CancelRequested, c.CancelReason = extended.CancelledAs != "", extended.CancelReason
	}
	return err
}

// Complete marks a request as completed and stores c.Payload as its answer. It also completes a
// request that was never claimed, at attempt 0: see Held. On success Complete sets c's Status,
// Error and UpdatedAt, as Fail and Finish do.
func (s *PendingStore[T]) Complete(ctx context.Context, c *Claim[T]) (err error) {
	defer s.wrap(&err, "complete", c.id())
	return c.inTurn(ctx, func() error { return s.end(ctx, c, StatusCompleted, "") })
}

// Fail marks a request as failed. It stores c.Payload and the reason, which is for people. The
// reason is cut after 16 KiB, and bytes that are not UTF-8 are replaced.
func (s *PendingStore[T]) Fail(ctx context.Context, c *Claim[T], reason string) (err error) {
	defer s.wrap(&err, "fail", c.id())
	reason = check.Cut(reason, check.MaxReason)
	return c.inTurn(ctx, func() error { return s.end(ctx, c, StatusFailed, reason) })
}

// Finish ends a request with a status from the policy's Outcomes, and stores c.Payload. If a cancel
// was requested, the worker may stop and Finish with [StatusCancelled]. Then the request's Error is
// the reason of the cancel. For any other outcome Finish returns [ErrInvalid].
func (s *PendingStore[T]) Finish(ctx context.Context, c *Claim[T], outcome Status) (err error) {
	defer s.wrap(&err, "finish", c.id())
	return c.inTurn(ctx, func() error {
		reason := ""
		if outcome == StatusCancelled && c != nil && c.CancelRequested {
			reason = c.CancelReason
		} else if !slices.Contains(s.policy.Outcomes, outcome) {
			return check.Invalid("outcome %.40q is not among Policy.Outcomes", outcome)
		}
		return s.end(ctx, c, outcome, reason)
	})
}

// end ends a request as the claim's worker, with the claim's payload.
func (s *PendingStore[T]) end(ctx context.Context, c *Claim[T], as Status, reason string) error {
	if err := c.check(); err != nil {
		return err
	}
	encoded, err := s.encode(c.Payload, c.ID, c.Mailbox, partOf(as))
	if err != nil {
		return err
	}
	end := backends.End{Terms: s.terms, ID: c.ID, Mailbox: c.Mailbox, Outcome: string(as),
		Error: reason, Attempt: c.Attempt, StartedAt: c.StartedAt, Codec: s.codec.Name(),
		Payload: encoded}
	rec, err := s.backend.End(ctx, end)
	if ended, ok := errors.AsType[*backends.EndedError](err); ok && s.repeats(end, ended.Record) {
		rec, err = ended.Record, nil
	}
	if err == nil {
		c.Status, c.Error, c.UpdatedAt = as, reason, rec.UpdatedAt
	}
	return err
}

// repeats reports whether an ending is a retry of the stored ending.
func (s *PendingStore[T]) repeats(end backends.End, stored backends.Record) bool {
	if stored.Status != end.Outcome || stored.Error != end.Error ||
		!stored.HasClaim(end.Attempt, end.StartedAt) {
		return false
	}
	if stored.Codec == end.Codec && bytes.Equal(stored.Payload, end.Payload) {
		return true
	}
	// Equal payloads have different bytes if nodes use different codecs, keys or library versions.
	retry := stored
	retry.Codec, retry.Payload = end.Codec, end.Payload
	a, errA := s.decode(stored)
	b, errB := s.decode(retry)
	return errA == nil && errB == nil && codec.Equal(a, b)
}

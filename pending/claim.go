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

// Claim is a request that a worker holds. Only the pops and [PendingStore.Held] make one.
//
// All operations on a Claim apply to its Attempt and StartedAt, and need its Mailbox: change none
// of them. A worker whose lease has expired may still end the request until it times out or another
// worker claims it. If several errors apply, the order is [ErrNotFound], [ErrEnded],
// [ErrStaleClaim]. A retry of an ending succeeds, from any node, with the same outcome, reason and
// payload. A Claim must not be used concurrently.
type Claim[T any] struct {
	Request[T]

	store string        // the policy's Name; "" if neither a pop nor Held made the claim
	left  time.Duration // the rest of the lease when the claim was made
	lease *lease.Lease  // shared with the Worker of the claim; nil without one

	cancelled bool   // CancelRequested as the backend said it: a worker may change the field
	reason    string // so for CancelReason
}

func (s *PendingStore[T]) claim(rec backends.Record) (*Claim[T], error) {
	c := &Claim[T]{store: s.policy.Name, left: rec.Deadline.Sub(rec.ReadAt)}
	err := s.read(rec, &c.Request)
	c.told(c.CancelRequested, c.CancelReason)
	return c, err
}

// told notes what the backend says about a cancel.
func (c *Claim[T]) told(cancelled bool, reason string) {
	c.cancelled, c.reason = cancelled, reason
	c.CancelRequested, c.CancelReason = cancelled, reason
}

// act operates on a claim, unless it is nil, malformed, or not from a pop or Held of this store. It
// adds the operation to an error.
func (s *PendingStore[T]) act(operation string, c *Claim[T], operate func() error) error {
	if c == nil {
		return s.failed(operation, "", check.Invalid("the claim is nil"))
	}
	err := cmp.Or(check.ID(c.ID),
		check.Range("the claim's attempt", c.Attempt, 0, check.MaxAttempts))
	switch {
	case c.store == "":
		err = check.Invalid("the claim was not made by a pop or by Held")
	case c.store != s.policy.Name:
		err = check.Invalid("the claim is of store %q", c.store)
	case err == nil:
		err = operate()
	}
	s.wrap(&err, operation, c.ID)
	return err
}

// inTurn is act for a call that may come from a handler. It waits until the Worker does not operate
// on the claim, and tells the Worker when the claim is over.
func (s *PendingStore[T]) inTurn(
	ctx context.Context, operation string, c *Claim[T], operate func() error) error {
	return s.act(operation, c, func() error {
		if c.lease == nil {
			return operate()
		}
		if err := c.lease.Take(ctx); err != nil {
			return err
		}
		defer c.lease.Leave()
		if c.lease.Cancelled {
			c.told(true, c.lease.Reason)
		}
		err := operate()
		c.lease.Over = c.lease.Over || c.Status != StatusRunning
		return err
	})
}

// AnyAttempt makes Held return the claim of the latest attempt, for reports without an attempt. If
// MaxAttempts is more than 1, it is [ErrInvalid]: a late report could end another worker's claim.
const AnyAttempt = -1

// Held returns the claim of a worker that reports over a network, by the attempt in the report: see
// the package comment. Attempt 0 stands for a request that was never claimed.
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
func (s *PendingStore[T]) Extend(ctx context.Context, c *Claim[T]) error {
	return s.inTurn(ctx, "extend", c, func() error { return s.extend(ctx, c, backends.Extend{}) })
}

// Progress is an Extend that also stores c.Payload, such as a partial answer or a checkpoint. The
// requester can read it, and the next attempt receives it. In a handler of a [Worker], it only
// hands the payload to the Worker, which sends it later. If ctx has ended, it returns the cause.
func (s *PendingStore[T]) Progress(ctx context.Context, c *Claim[T]) error {
	return s.act("store progress", c, func() error { return s.progress(ctx, c) })
}

func (s *PendingStore[T]) progress(ctx context.Context, c *Claim[T]) error {
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
// cancel waits for its grace. Then another worker can claim it; a pause of 0 means at once. Release
// keeps the stored payload. On the last attempt it returns [ErrInvalid]. If a cancel was requested,
// Release ends the request as cancelled instead, and stores c.Payload.
func (s *PendingStore[T]) Release(ctx context.Context, c *Claim[T], pause time.Duration) error {
	return s.inTurn(ctx, "release", c, func() error { return s.release(ctx, c, pause) })
}

func (s *PendingStore[T]) release(ctx context.Context, c *Claim[T], pause time.Duration) error {
	if err := check.Range("the pause", pause, 0, check.MaxDuration); err != nil {
		return err
	}
	if !c.cancelled {
		if c.Attempt >= s.terms.MaxAttempts {
			return check.Invalid("attempt %d is the last", c.Attempt)
		}
		x := *c.lease.Unsent()
		x.Release, x.After = true, pause.Truncate(time.Microsecond)
		if err := s.extend(ctx, c, x); err != nil {
			return err
		}
	}
	if c.cancelled {
		return s.end(ctx, c, StatusCancelled, c.reason)
	}
	c.Status = StatusPending
	return nil
}

func (s *PendingStore[T]) extend(ctx context.Context, c *Claim[T], x backends.Extend) error {
	x.Terms, x.ID, x.Mailbox = s.terms, c.ID, c.Mailbox
	x.Attempt, x.StartedAt = c.Attempt, c.StartedAt
	extended, err := s.backend.Extend(ctx, x)
	if err == nil {
		c.UpdatedAt, c.Deadline = extended.UpdatedAt, extended.Deadline
		c.told(extended.CancelledAs != "", extended.CancelReason)
	}
	return err
}

// Complete marks a request as completed and stores c.Payload as its answer. It also completes a
// request that was never claimed, at attempt 0: see Held. On success Complete sets c's Status,
// Error and UpdatedAt, as Fail and Finish do.
func (s *PendingStore[T]) Complete(ctx context.Context, c *Claim[T]) error {
	return s.inTurn(ctx, "complete", c, func() error { return s.end(ctx, c, StatusCompleted, "") })
}

// Fail marks a request as failed. It stores c.Payload and the reason, which is for people. The
// reason is cut after 16 KiB, and bytes that are not UTF-8 are replaced.
func (s *PendingStore[T]) Fail(ctx context.Context, c *Claim[T], reason string) error {
	reason = check.Cut(reason, check.MaxReason)
	return s.inTurn(ctx, "fail", c, func() error { return s.end(ctx, c, StatusFailed, reason) })
}

// Finish ends a request with a status from the policy's Outcomes, and stores c.Payload. If a cancel
// was requested, the worker may stop and Finish with [StatusCancelled]. Then the request's Error is
// the reason of the cancel. For any other outcome Finish returns [ErrInvalid].
func (s *PendingStore[T]) Finish(ctx context.Context, c *Claim[T], outcome Status) error {
	return s.inTurn(ctx, "finish", c, func() error {
		reason := ""
		if outcome == StatusCancelled && c.cancelled {
			reason = c.reason
		} else if !slices.Contains(s.policy.Outcomes, outcome) {
			return check.Invalid("outcome %.40q is not among Policy.Outcomes", outcome)
		}
		return s.end(ctx, c, outcome, reason)
	})
}

// end ends a request as the claim's worker, with the claim's payload.
func (s *PendingStore[T]) end(ctx context.Context, c *Claim[T], as Status, reason string) error {
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

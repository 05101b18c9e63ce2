package pending

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// Extend renews the lease of a claim: the deadline becomes now plus the policy's RunningTimeout. It
// sets c's Deadline and UpdatedAt, and tells in CancelRequested whether the requester wants the
// worker to stop. A cancel keeps its deadline.
//
// It returns [ErrStaleClaim] if the lease has expired or another worker has claimed the request. It
// returns [ErrEnded] after the last deadline.
func (s *PendingStore[T]) Extend(ctx context.Context, c *Claim[T]) (err error) {
	defer s.wrap(&err, "extend", c.id())
	return s.extend(ctx, c, backends.Extend{})
}

// Progress is an Extend that also stores c.Payload as it stands. The requester can read it, and a
// next attempt gets it. So it is an answer in parts, or a checkpoint. Calls for one claim must not
// overlap.
//
// In a handler of a [Worker], Progress returns at once, and the Worker sends the payload. If ctx has
// ended, Progress returns its cause, and the Worker sends the payload nevertheless.
func (s *PendingStore[T]) Progress(ctx context.Context, c *Claim[T]) (err error) {
	defer s.wrap(&err, "store progress", c.id())
	if err := c.check(); err != nil {
		return err
	}
	encoded, err := s.encode(c.Payload, c.ID, c.Mailbox, codec.Question)
	if err != nil {
		return err
	}
	if c.progress == nil {
		return s.extend(ctx, c, backends.Extend{Codec: s.codec.Name(), Payload: encoded})
	}
	select {
	case <-c.progress: // was not sent yet, and is out of date
	default:
	}
	c.progress <- encoded
	return context.Cause(ctx)
}

// Release hands a request back: it can be claimed again after that time, at once for 0. A worker
// releases what it cannot do before it shuts down, and what may succeed later. Release does not
// store c.Payload. It needs another attempt: on the last one it returns [ErrInvalid]. If a cancel
// was requested, no attempt follows, and Release ends the request as cancelled.
func (s *PendingStore[T]) Release(
	ctx context.Context, c *Claim[T], after time.Duration) (err error) {
	defer s.wrap(&err, "release", c.id())
	if err := cmp.Or(c.check(), checkRange("the pause", after, 0, maxDuration)); err != nil {
		return err
	}
	if !c.CancelRequested {
		if c.Attempt >= s.terms.MaxAttempts {
			return fmt.Errorf("%w: attempt %d is the last of %d",
				ErrInvalid, c.Attempt, s.terms.MaxAttempts)
		}
		x := backends.Extend{Release: true, After: after.Truncate(time.Microsecond)}
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

// extend extends a claim and updates c.
func (s *PendingStore[T]) extend(ctx context.Context, c *Claim[T], x backends.Extend) error {
	if err := c.check(); err != nil {
		return err
	}
	x.Terms, x.ID, x.Mailbox, x.Attempt = s.terms, c.ID, c.Mailbox, c.Attempt
	lease, err := s.backend.Extend(ctx, x)
	if err != nil {
		return err
	}
	c.UpdatedAt, c.Deadline = lease.UpdatedAt, lease.Deadline
	c.CancelRequested, c.CancelReason = lease.CancelledAs != "", lease.CancelReason
	return nil
}

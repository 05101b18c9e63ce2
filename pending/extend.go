package pending

import (
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
func (s *PendingStore[T]) Extend(ctx context.Context, c *Claim[T]) error {
	return s.extend(ctx, "extend", c, backends.Extend{})
}

// Progress is an Extend that also stores c.Payload as it stands. The requester can read it, and a
// next attempt gets it. So it is an answer in parts, or a checkpoint. Calls for one claim must not
// overlap. In a handler of a [Worker], Progress returns at once, and the Worker sends it.
func (s *PendingStore[T]) Progress(ctx context.Context, c *Claim[T]) error {
	const operation = "store progress"
	if err := checkClaim(c); err != nil {
		return s.failed(operation, "", err)
	}
	encoded, err := s.encode(c.Payload, c.ID, c.Mailbox, codec.Question)
	if err != nil {
		return s.failed(operation, c.ID, err)
	}
	if c.keeper != nil {
		return c.keeper.progress(s.codec.Name(), encoded)
	}
	return s.extend(ctx, operation, c, backends.Extend{Codec: s.codec.Name(), Payload: encoded})
}

// Release hands a request back: it can be claimed again after that time, at once for 0. A worker
// releases what it cannot do before it shuts down, and what may succeed later. Release does not
// store c.Payload. It needs another attempt: on the last one it returns [ErrInvalid]. If a cancel
// was requested, no attempt follows, and Release ends the request as cancelled.
func (s *PendingStore[T]) Release(ctx context.Context, c *Claim[T], after time.Duration) error {
	const operation = "release"
	if err := checkClaim(c); err != nil {
		return s.failed(operation, "", err)
	}
	if after < 0 || after > maxDuration {
		return s.failed(operation, c.ID,
			fmt.Errorf("%w: the pause is %v, want 0 to %v", ErrInvalid, after, maxDuration))
	}
	if c.CancelRequested {
		return s.Finish(ctx, c, StatusCancelled)
	}
	if c.Attempt >= s.terms.MaxAttempts {
		return s.failed(operation, c.ID, fmt.Errorf("%w: attempt %d is the last of %d",
			ErrInvalid, c.Attempt, s.terms.MaxAttempts))
	}
	err := s.extend(ctx, operation, c,
		backends.Extend{Release: true, After: after.Truncate(time.Microsecond)})
	switch {
	case err != nil:
		return err
	case c.CancelRequested:
		return s.Finish(ctx, c, StatusCancelled)
	}
	c.Status = StatusPending
	return nil
}

// extend extends a claim and updates c.
func (s *PendingStore[T]) extend(
	ctx context.Context, operation string, c *Claim[T], x backends.Extend) error {
	if err := checkClaim(c); err != nil {
		return s.failed(operation, "", err)
	}
	x.Terms, x.ID, x.Mailbox, x.Attempt = s.terms, c.ID, c.Mailbox, c.Attempt
	lease, err := s.backend.Extend(ctx, x)
	if err != nil {
		return s.failed(operation, c.ID, err)
	}
	c.UpdatedAt, c.Deadline = lease.UpdatedAt, lease.Deadline
	c.CancelRequested, c.CancelReason = lease.CancelledAs != "", lease.CancelReason
	return nil
}

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

// The operations of a worker change the request with the claim's ID, if its latest attempt is the
// claim's. Complete, Fail, Finish and Progress also store the claim's Payload. They pass the claim's
// Mailbox to the backend, as a hint. A codec such as [codec.Sealed] requires it. If several errors
// apply, the order is [ErrNotFound], [ErrEnded], [ErrStaleClaim].
//
// An ending may be retried from any node. The same attempt, outcome and payload again succeeds.

const maxReason = 16 << 10 // bytes

// Complete marks a request as completed and stores c.Payload as its answer. A request that was
// never claimed may be completed too, at attempt 0: see Held. It leaves the queue. On success
// Complete sets c's Status, Error and UpdatedAt, as Fail and Finish do.
func (s *PendingStore[T]) Complete(ctx context.Context, c *Claim[T]) error {
	return s.end(ctx, "complete", c, StatusCompleted, "")
}

// Fail marks a request as failed. It stores c.Payload and the reason, which is for people. A reason
// is cut after 16 KiB, and its bytes that are not UTF-8 are replaced.
func (s *PendingStore[T]) Fail(ctx context.Context, c *Claim[T], reason string) error {
	return s.end(ctx, "fail", c, StatusFailed, cut(reason, maxReason))
}

// Finish ends a request in a way that the policy declares in Outcomes, and stores c.Payload. If a
// cancel was requested, [StatusCancelled] is also allowed: the worker has stopped, and the error of
// the request becomes the reason of the cancel. Any other outcome is [ErrInvalid].
func (s *PendingStore[T]) Finish(ctx context.Context, c *Claim[T], outcome Status) error {
	if outcome == StatusCancelled && c != nil && c.CancelRequested {
		return s.end(ctx, "finish", c, outcome, c.CancelReason)
	}
	if !slices.Contains(s.policy.Outcomes, outcome) {
		return s.failed("finish", "",
			fmt.Errorf("%w: outcome %.40q is not among Policy.Outcomes", ErrInvalid, outcome))
	}
	return s.end(ctx, "finish", c, outcome, "")
}

// end ends a request at the claim's attempt with the claim's payload.
func (s *PendingStore[T]) end(
	ctx context.Context, operation string, c *Claim[T], outcome Status, reason string) error {
	if err := checkClaim(c); err != nil {
		return s.failed(operation, "", err)
	}
	encoded, err := s.encode(c.Payload, c.ID, c.Mailbox, partOf(outcome))
	if err != nil {
		return s.failed(operation, c.ID, err)
	}
	end := backends.End{Terms: s.terms, ID: c.ID, Mailbox: c.Mailbox, Outcome: string(outcome),
		Error: reason, Attempt: c.Attempt, Codec: s.codec.Name(), Payload: encoded}
	rec, err := s.backend.End(ctx, end)
	var ended *backends.EndedError
	switch {
	case errors.As(err, &ended) && s.repeats(end, ended.Record):
		rec = ended.Record
	case err != nil:
		return s.failed(operation, c.ID, err)
	}
	c.Status, c.Error, c.UpdatedAt = outcome, reason, rec.UpdatedAt
	return nil
}

// repeats reports whether an ending repeats the stored ending.
func (s *PendingStore[T]) repeats(end backends.End, stored backends.Record) bool {
	return stored.Status == end.Outcome && stored.Error == end.Error &&
		stored.Attempt == end.Attempt && s.sameContent(end, stored)
}

// sameContent reports whether an ending has the stored payload. Equal payloads have different bytes
// if nodes use different codecs, keys or library versions.
func (s *PendingStore[T]) sameContent(end backends.End, stored backends.Record) bool {
	if stored.Codec == end.Codec && bytes.Equal(stored.Payload, end.Payload) {
		return true
	}
	retry := stored
	retry.Codec, retry.Payload = end.Codec, end.Payload
	a, err := s.decode(stored)
	if err != nil {
		return false
	}
	b, err := s.decode(retry)
	return err == nil && codec.Equal(a, b)
}

func checkClaim[T any](c *Claim[T]) error {
	switch {
	case c == nil:
		return fmt.Errorf("%w: the claim is nil", ErrInvalid)
	case !c.held:
		return fmt.Errorf("%w: the claim was not made by a pop or by Held", ErrInvalid)
	case c.Attempt < 0 || c.Attempt > maxAttempts:
		return fmt.Errorf("%w: the claim's attempt is %d", ErrInvalid, c.Attempt)
	}
	return checkID(c.ID)
}

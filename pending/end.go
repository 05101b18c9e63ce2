package pending

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// The operations of a worker change the request with the claim's ID, if its latest attempt is the
// claim's. Complete, Fail, Finish and Progress also store the claim's Payload. They pass the
// claim's Mailbox to the backend as a hint. A codec such as [codec.Sealed] requires it. If several
// errors apply, the order is [ErrNotFound], [ErrEnded], [ErrStaleClaim].
//
// An ending may be retried from any node. The same attempt, outcome and payload again succeeds.

// Complete marks a request as completed and stores c.Payload as its answer. A request that was
// never claimed may be completed too, at attempt 0: see Held. It leaves the queue. On success
// Complete sets c's Status, Error and UpdatedAt, as Fail and Finish do.
func (s *PendingStore[T]) Complete(ctx context.Context, c *Claim[T]) (err error) {
	defer s.wrap(&err, "complete", c.id())
	return s.end(ctx, c, StatusCompleted, "")
}

// Fail marks a request as failed. It stores c.Payload and the reason, which is for people. A reason
// is cut after 16 KiB, and its bytes that are not UTF-8 are replaced.
func (s *PendingStore[T]) Fail(ctx context.Context, c *Claim[T], reason string) (err error) {
	defer s.wrap(&err, "fail", c.id())
	return s.end(ctx, c, StatusFailed, cut(reason))
}

// Finish ends a request in a way that the policy declares in Outcomes, and stores c.Payload. If a
// cancel was requested, [StatusCancelled] is also allowed: the worker has stopped, and the error of
// the request becomes the reason of the cancel. Any other outcome is [ErrInvalid].
func (s *PendingStore[T]) Finish(ctx context.Context, c *Claim[T], outcome Status) (err error) {
	defer s.wrap(&err, "finish", c.id())
	if outcome == StatusCancelled && c != nil && c.CancelRequested {
		return s.end(ctx, c, outcome, c.CancelReason)
	}
	if !slices.Contains(s.policy.Outcomes, outcome) {
		return fmt.Errorf("%w: outcome %.40q is not among Policy.Outcomes", ErrInvalid, outcome)
	}
	return s.end(ctx, c, outcome, "")
}

// end ends a request at the claim's attempt with the claim's payload.
func (s *PendingStore[T]) end(
	ctx context.Context, c *Claim[T], outcome Status, reason string) error {
	if err := c.check(); err != nil {
		return err
	}
	encoded, err := s.encode(c.Payload, c.ID, c.Mailbox, partOf(outcome))
	if err != nil {
		return err
	}
	end := backends.End{Terms: s.terms, ID: c.ID, Mailbox: c.Mailbox, Outcome: string(outcome),
		Error: reason, Attempt: c.Attempt, Codec: s.codec.Name(), Payload: encoded}
	rec, err := s.backend.End(ctx, end)
	var ended *backends.EndedError
	if errors.As(err, &ended) && s.repeats(end, ended.Record) {
		rec, err = ended.Record, nil
	}
	if err == nil {
		c.Status, c.Error, c.UpdatedAt = outcome, reason, rec.UpdatedAt
	}
	return err
}

// repeats reports whether an ending repeats the stored ending.
func (s *PendingStore[T]) repeats(end backends.End, stored backends.Record) bool {
	if stored.Status != end.Outcome || stored.Error != end.Error || stored.Attempt != end.Attempt {
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

const (
	gaveUpReason  = "timed out: the requester gave up waiting"
	defaultReason = "cancelled by the requester"
	maxReason     = 16 << 10 // bytes
)

// Cancel asks for the end of a live request, with a reason for people; "" stands for a standard
// text. A request that waits ends at once as cancelled. So does one that runs, if the policy's
// CancelGrace is 0. Otherwise its worker has that time to end it in its own way, and learns of the
// cancel at its next Extend. If it does not end the request in time, the request reads as
// cancelled. No further attempt follows in any case.
//
// On success r has the status of the request afterwards: cancelled, or running for the time of the
// grace. A second Cancel succeeds and changes nothing. If the request has ended otherwise, Cancel
// returns [ErrEnded].
func (s *PendingStore[T]) Cancel(ctx context.Context, r *Request[T], reason string) error {
	if reason == "" {
		reason = defaultReason
	}
	return s.cancel(ctx, "cancel", r, backends.Cancel{Outcome: backends.StatusCancelled,
		Error: cut(reason), Grace: s.policy.CancelGrace.Truncate(time.Microsecond)})
}

// Timeout ends a request at once because its requester gives up waiting, whatever its attempt. It
// keeps the stored payload. On success r has the status of the request.
func (s *PendingStore[T]) Timeout(ctx context.Context, r *Request[T]) error {
	return s.cancel(ctx, "time out", r,
		backends.Cancel{Outcome: backends.StatusTimeout, Error: gaveUpReason})
}

// cancel cancels a request and updates r.
func (s *PendingStore[T]) cancel(
	ctx context.Context, operation string, r *Request[T], c backends.Cancel) (err error) {
	if r == nil {
		return s.failed(operation, "", fmt.Errorf("%w: the request is nil", ErrInvalid))
	}
	defer s.wrap(&err, operation, r.ID)
	if err := checkID(r.ID); err != nil {
		return err
	}
	c.Terms, c.ID, c.Mailbox = s.terms, r.ID, r.Mailbox
	rec, err := s.backend.Cancel(ctx, c)
	var ended *backends.EndedError
	if errors.As(err, &ended) && ended.Record.Status == c.Outcome &&
		(c.Outcome == backends.StatusCancelled || ended.Record.Error == c.Error) {
		rec, err = ended.Record, nil // this repeats the cancel that ended it
	}
	if err != nil {
		return err
	}
	payload := r.Payload
	*r = *head[T](rec)
	r.Payload = payload
	return nil
}

// cut makes a reason UTF-8 of at most maxReason bytes.
func cut(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

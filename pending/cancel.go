package pending

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pendingq/pendingq/backends"
)

const (
	gaveUpReason  = "timed out: the requester gave up waiting"
	defaultReason = "cancelled by the requester"
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
		Error: cut(reason, maxReason), Grace: s.policy.CancelGrace.Truncate(time.Microsecond)},
		func(ended backends.Record) bool { return ended.Status == backends.StatusCancelled })
}

// Timeout ends a request at once because its requester gives up waiting, whatever its attempt. It
// keeps the stored payload. On success r has the status of the request.
func (s *PendingStore[T]) Timeout(ctx context.Context, r *Request[T]) error {
	return s.cancel(ctx, "time out", r,
		backends.Cancel{Outcome: backends.StatusTimeout, Error: gaveUpReason},
		func(ended backends.Record) bool {
			return ended.Status == backends.StatusTimeout && ended.Error == gaveUpReason
		})
}

// cancel cancels a request and updates r. Repeats reports whether a request that has ended shows
// that this is a repeat.
func (s *PendingStore[T]) cancel(ctx context.Context, operation string, r *Request[T],
	c backends.Cancel, repeats func(ended backends.Record) bool) error {
	if r == nil {
		return s.failed(operation, "", fmt.Errorf("%w: the request is nil", ErrInvalid))
	}
	if err := checkID(r.ID); err != nil {
		return s.failed(operation, "", err)
	}
	c.Terms, c.ID, c.Mailbox = s.terms, r.ID, r.Mailbox
	rec, err := s.backend.Cancel(ctx, c)
	var ended *backends.EndedError
	switch {
	case errors.As(err, &ended) && repeats(ended.Record):
		rec = ended.Record
	case err != nil:
		return s.failed(operation, r.ID, err)
	}
	payload := r.Payload
	*r = *head[T](rec)
	r.Payload = payload
	return nil
}

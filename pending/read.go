package pending

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// GetOption changes one Get.
type GetOption func(*getOptions)

type getOptions struct {
	mailbox   string
	inMailbox bool
}

// InMailbox turns a request of any other mailbox into [ErrNotFound]. It is for callers who may see
// only this mailbox.
func InMailbox(mailbox string) GetOption {
	return func(o *getOptions) { o.mailbox, o.inMailbox = mailbox, true }
}

// Get reads a request. A request past its deadline reads as timed out: nobody has to write a
// timeout. Get returns [ErrNotFound] if there is no such request, [ErrInvalid] for an id that no
// Create can have made, and a [DecodeError] if the request cannot be read.
func (s *PendingStore[T]) Get(ctx context.Context, id string, opts ...GetOption) (*Request[T], error) {
	r, _, err := s.get(ctx, id, opts)
	return r, err
}

// get also returns how long the request's deadline is away, which says something while it is live.
func (s *PendingStore[T]) get(
	ctx context.Context, id string, opts []GetOption) (*Request[T], time.Duration, error) {
	rec, err := s.read(ctx, "get", id, opts)
	if err != nil {
		return nil, 0, err
	}
	r, err := s.request(rec)
	return r, rec.Deadline.Sub(rec.ReadAt), err
}

// read reads a record on behalf of an operation.
func (c *core) read(
	ctx context.Context, operation, id string, opts []GetOption) (backends.Record, error) {
	o := collect[getOptions](opts)
	if err := checkID(id); err != nil {
		return backends.Record{}, c.failed(operation, "", err)
	}
	rec, err := c.backend.Get(ctx, c.policy.Name, id)
	if err == nil && o.inMailbox && rec.Mailbox != o.mailbox {
		err = ErrNotFound
	}
	if err != nil {
		return backends.Record{}, c.failed(operation, id, err)
	}
	return rec, nil
}

// AnyAttempt makes Held accept the latest attempt, whatever it is. It is for reports that do not
// say their attempt.
const AnyAttempt = -1

// Held returns the claim of a worker that reports over a network: of the request with this id, if
// its latest attempt is this one. An API node that takes a report calls Held with the attempt that
// the worker has sent, sets Payload's answer, and calls Complete. Attempt 0 stands for a request
// that was never claimed.
//
// Held returns [ErrNotFound] if there is no such request, and [ErrStaleClaim] if the latest attempt
// is another one. Held also returns a request that has ended. So the retry of a report whose reply
// was lost works: Complete then succeeds for the same answer, and returns [ErrEnded] for any other.
// If a report has side effects, look at Status first.
//
// [AnyAttempt] is [ErrInvalid] for a store whose MaxAttempts is more than 1: the report of a worker
// whose lease has expired could end the claim of another worker.
//
// If the payload cannot be decoded, Held returns the claim without its payload together with a
// [DecodeError]. Fail can still end such a request.
func (s *PendingStore[T]) Held(
	ctx context.Context, id string, attempt int, opts ...GetOption) (*Claim[T], error) {
	switch {
	case attempt == AnyAttempt && s.terms.MaxAttempts > 1:
		return nil, s.failed("hold", "", fmt.Errorf(
			"%w: AnyAttempt needs a store whose MaxAttempts is 1; this store's is %d",
			ErrInvalid, s.terms.MaxAttempts))
	case attempt < AnyAttempt || attempt > maxAttempts:
		return nil, s.failed("hold", "", fmt.Errorf("%w: the attempt is %d", ErrInvalid, attempt))
	}
	rec, err := s.read(ctx, "hold", id, opts)
	if err != nil {
		return nil, err
	}
	if attempt != AnyAttempt && rec.Attempt != attempt {
		return nil, s.failed("hold", id, fmt.Errorf(
			"%w: attempt %d was asked for, the latest is %d", ErrStaleClaim, attempt, rec.Attempt))
	}
	r, err := s.request(rec)
	if err != nil {
		return claim(rec, head[T](rec)), err
	}
	return claim(rec, r), nil
}

// HasPending reports whether the mailbox has a request that a pop could claim now. It only reads.
func (s *PendingStore[T]) HasPending(ctx context.Context, mailbox string) (bool, error) {
	if err := checkMailbox(mailbox); err != nil {
		return false, s.failed("look into", "", err)
	}
	pending, err := s.backend.HasPending(ctx, s.policy.Name, mailbox)
	if err != nil {
		return false, s.failed("look into", strconv.Quote(mailbox), err)
	}
	return pending, nil
}

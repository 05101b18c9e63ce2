package pending

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
func (s *PendingStore[T]) Get(
	ctx context.Context, id string, opts ...GetOption) (r *Request[T], err error) {
	defer s.wrap(&err, "get", id)
	r, _, err = s.get(ctx, id, opts)
	return r, err
}

// get also returns how long the request's deadline is away, which says something while it is live.
func (s *PendingStore[T]) get(
	ctx context.Context, id string, opts []GetOption) (*Request[T], time.Duration, error) {
	rec, err := s.read(ctx, id, opts)
	if err != nil {
		return nil, 0, err
	}
	r, err := s.request(rec)
	return r, rec.Deadline.Sub(rec.ReadAt), err
}

func (c *core) read(
	ctx context.Context, id string, opts []GetOption) (rec backends.Record, err error) {
	o := collect[getOptions](opts)
	if err := checkID(id); err != nil {
		return rec, err
	}
	rec, err = c.backend.Get(ctx, c.policy.Name, id)
	if err == nil && o.inMailbox && rec.Mailbox != o.mailbox {
		err = ErrNotFound
	}
	return rec, err
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
	ctx context.Context, id string, attempt int, opts ...GetOption) (c *Claim[T], err error) {
	defer s.wrap(&err, "hold", id)
	if attempt == AnyAttempt && s.terms.MaxAttempts > 1 {
		return nil, fmt.Errorf("%w: AnyAttempt needs a store whose MaxAttempts is 1, not %d",
			ErrInvalid, s.terms.MaxAttempts)
	}
	if err := checkRange("the attempt", attempt, AnyAttempt, maxAttempts); err != nil {
		return nil, err
	}
	rec, err := s.read(ctx, id, opts)
	if err != nil {
		return nil, err
	}
	if attempt != AnyAttempt && rec.Attempt != attempt {
		return nil, fmt.Errorf("%w: attempt %d was asked for, the latest is %d",
			ErrStaleClaim, attempt, rec.Attempt)
	}
	r, err := s.request(rec)
	if err != nil {
		r = head[T](rec)
	}
	return claim(rec, r), err
}

// HasPending reports whether the mailbox has a request that a pop could claim now. It only reads.
func (s *PendingStore[T]) HasPending(ctx context.Context, mailbox string) (has bool, err error) {
	defer s.wrap(&err, "look into", mailbox)
	if err := checkMailbox(mailbox); err != nil {
		return false, err
	}
	return s.backend.HasPending(ctx, s.policy.Name, mailbox)
}

// ListOptions say which page of live requests List returns. The zero value is the first page.
type ListOptions struct {
	After string // Page.Next of the page before; "": the first page
	Limit int    // how many requests at most, 1 to 100. Default: 100
}

// Page is a page of live requests.
type Page[T any] struct {
	Requests []*Request[T] // the oldest first
	Next     string        // ListOptions.After for the next page; "" if this is the last one
}

// List returns live requests of a mailbox, those that wait and those that run, the oldest first
// within the page. A page may have fewer requests than the limit although others follow. A request
// that changes meanwhile may come twice or not at all.
//
// A page may come together with an error, a joined [DecodeError] for each request that cannot be
// read. List returns [errors.ErrUnsupported] if the backend cannot list.
func (s *PendingStore[T]) List(
	ctx context.Context, mailbox string, opts ListOptions) (page *Page[T], err error) {
	limit := cmp.Or(opts.Limit, maxLimit)
	err = cmp.Or(checkMailbox(mailbox), checkRange("the limit", limit, 1, maxLimit))
	lister, ok := backends.As[backends.Lister](s.backend)
	if !ok {
		err = fmt.Errorf("%w: the backend (%T) has no List", errors.ErrUnsupported, s.backend)
	}
	var listed backends.Page
	if err == nil {
		listed, err = lister.List(ctx, s.policy.Name, mailbox, opts.After, limit)
	}
	if err != nil {
		return nil, s.failed("list", mailbox, err)
	}
	claims, err := s.claims(listed.Records, listed.Errs)
	page = &Page[T]{Next: listed.Next}
	for _, c := range claims {
		page.Requests = append(page.Requests, &c.Request)
	}
	slices.SortStableFunc(page.Requests, func(x, y *Request[T]) int {
		return x.CreatedAt.Compare(y.CreatedAt)
	})
	return page, err
}

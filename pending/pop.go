package pending

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/pendingq/pendingq/backends"
)

// PopOption changes one pop.
type PopOption func(*popOptions)

type popOptions struct {
	claimID    string
	hasClaimID bool
	limits     map[*core]int
}

// WithClaimID makes a pop repeatable by the caller: the same id, of 1 to 512 bytes, again for the same mailbox
// and the same stores claims nothing new. It returns, whatever its limits, what the first pop claimed and is
// still running at that attempt. It holds until the latest deadline that the first pop set; a pop that found
// nothing is not remembered. Without it a pop is still safe from the client library's own repeats.
func WithClaimID(id string) PopOption {
	return func(o *popOptions) { o.claimID, o.hasClaimID = id, true }
}

// WithLimit lets a pop of an [Inbox] claim up to n requests of s, 1 to 100. Without it a pop claims one of each
// store.
func WithLimit[T any](s *PendingStore[T], n int) PopOption {
	return func(o *popOptions) {
		if o.limits == nil {
			o.limits = map[*core]int{}
		}
		o.limits[&s.core] = n
	}
}

const maxLimit = 100

// PopPending claims the request that has been claimable longest: exactly one caller gets it. It refuses with
// [ErrNoPending] when there is none. A request that cannot be read is a [DecodeError].
//
// The worker has the policy's RunningTimeout to end the request or Extend it.
func (s *PendingStore[T]) PopPending(ctx context.Context, mailbox string, opts ...PopOption) (*Request[T], error) {
	requests, err := s.pop(ctx, mailbox, 1, opts)
	switch {
	case len(requests) > 0:
		return requests[0], nil // what else there is to report stays where it is, for the next pop
	case err != nil:
		return nil, err
	}
	return nil, s.noPending
}

// PopPendingBatch claims up to limit requests, 1 to 100, the longest claimable first. None is no error. Those
// that cannot be read come as a joined [DecodeError] beside the others.
func (s *PendingStore[T]) PopPendingBatch(ctx context.Context, mailbox string, limit int, opts ...PopOption) ([]*Request[T], error) {
	return s.pop(ctx, mailbox, limit, opts)
}

func (s *PendingStore[T]) pop(ctx context.Context, mailbox string, limit int, opts []PopOption) ([]*Request[T], error) {
	stores := []*core{&s.core}
	c, o, err := newClaim(mailbox, stores, opts)
	if err == nil && o.limits != nil {
		err = fmt.Errorf("%w: WithLimit is for an Inbox", ErrInvalid)
	}
	if err == nil {
		err = checkLimit(limit)
	}
	if err != nil {
		return nil, s.failed("pop", "", err)
	}
	c.From[0].Limit = limit
	claimed, err := s.backend.Claim(ctx, c)
	if err != nil {
		return nil, s.failed("pop", "for "+strconv.Quote(mailbox), err)
	}
	requests, err := s.requests(claimed[0].Records)
	return requests, errors.Join(err, s.passedOver(claimed[0]))
}

// newClaim makes a claim of one request of each store.
func newClaim(mailbox string, stores []*core, opts []PopOption) (c backends.Claim, o popOptions, err error) {
	o = collect[popOptions](opts)
	if err := checkMailbox(mailbox); err != nil {
		return c, o, err
	}
	c = backends.Claim{Mailbox: mailbox, From: make([]backends.From, len(stores))}
	for i, s := range stores {
		c.From[i] = backends.From{Terms: s.terms, Limit: 1}
	}
	if !o.hasClaimID {
		c.ID = rand.Text()
		return c, o, nil
	}
	if err := checkKey("claim id", o.claimID); err != nil {
		return c, o, err
	}
	c.ID = boundClaimID(o.claimID, mailbox, stores)
	return c, o, nil
}

// boundClaimID makes of the caller's claim id one that stands for this mailbox and this set of stores alone.
func boundClaimID(claimID, mailbox string, stores []*core) string {
	names := make([]string, len(stores))
	for i, s := range stores {
		names[i] = s.policy.Name
	}
	slices.Sort(names)
	return backends.Digest(append([]string{mailbox, claimID}, names...)...)
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxLimit {
		return fmt.Errorf("%w: the limit is %d, want 1 to %d", ErrInvalid, limit, maxLimit)
	}
	return nil
}

// passedOver joins what a claim had to pass over in this store.
func (c *core) passedOver(claimed backends.Claimed) (err error) {
	for _, problem := range claimed.Errs {
		err = errors.Join(err, c.failed("pop", "", problem))
	}
	return err
}

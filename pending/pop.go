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
	limits     map[string]int // by store name
}

// WithClaimID lets the caller retry a pop. A retry has the same id, of 1 to 512 bytes, the same
// mailbox and the same stores. It claims nothing new. Whatever its limits, it returns the requests
// that the first pop claimed and that still run at that attempt. The id is remembered until the
// latest deadline that the first pop set. A pop that found nothing is not remembered. Retries by
// the client library itself are safe without an id.
func WithClaimID(id string) PopOption {
	return func(o *popOptions) { o.claimID, o.hasClaimID = id, true }
}

// WithLimit lets a pop of an [Inbox] claim up to n requests of s, 1 to 100. The default is one of
// each store.
func WithLimit[T any](s *PendingStore[T], n int) PopOption {
	return func(o *popOptions) {
		if o.limits == nil {
			o.limits = map[string]int{}
		}
		o.limits[s.policy.Name] = n
	}
}

const maxLimit = 100

// PopPending claims the request that has been claimable longest. Exactly one caller gets it. The
// worker then has the policy's RunningTimeout to end the request or to call Extend.
//
// It returns [ErrNoPending] if there is nothing to claim. A claimed request that cannot be read is a
// [DecodeError]. A claim may come together with an error, about other requests that the pop had to
// pass over. So look at the claim first.
func (s *PendingStore[T]) PopPending(
	ctx context.Context, mailbox string, opts ...PopOption) (*Claim[T], error) {
	claims, err := s.PopPendingBatch(ctx, mailbox, 1, opts...)
	if len(claims) == 0 {
		return nil, err
	}
	return claims[0], err
}

// PopPendingBatch claims up to limit requests, 1 to 100, the longest claimable first. It returns
// [ErrNoPending] if there is nothing to claim. Claims may come together with an error: a joined
// [DecodeError] for each request that cannot be read.
func (s *PendingStore[T]) PopPendingBatch(
	ctx context.Context, mailbox string, limit int, opts ...PopOption) ([]*Claim[T], error) {
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
	claims, err := s.claims(claimed[0].Records)
	err = errors.Join(err, s.passedOver(claimed[0]))
	if len(claims) == 0 && err == nil {
		return nil, s.noPending
	}
	return claims, err
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

// boundClaimID binds the caller's claim id to this mailbox and this set of stores.
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

// passedOver joins the errors about what a claim had to pass over in this store.
func (c *core) passedOver(claimed backends.Claimed) (err error) {
	for _, problem := range claimed.Errs {
		err = errors.Join(err, c.failed("pop", "", problem))
	}
	return err
}

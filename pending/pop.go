package pending

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

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
	o := collect[popOptions](opts)
	c, err := newClaim([]Source{s}, mailbox, limit, o)
	if o.limits != nil {
		err = fmt.Errorf("%w: WithLimit is for an Inbox", ErrInvalid)
	}
	var claimed []backends.Claimed
	if err == nil {
		claimed, err = s.backend.Claim(ctx, c)
	}
	if err != nil {
		return nil, s.failed("pop", mailbox, err)
	}
	claims, err := s.claims(claimed[0].Records, claimed[0].Errs)
	if len(claims) == 0 && err == nil {
		return nil, s.noPending
	}
	return claims, err
}

// newClaim makes a claim of up to limit requests of each store, or as many as WithLimit says.
func newClaim(
	stores []Source, mailbox string, limit int, o popOptions) (c backends.Claim, err error) {
	err = checkMailbox(mailbox)
	c = backends.Claim{Mailbox: mailbox, From: make([]backends.From, len(stores))}
	for i, s := range stores {
		terms, limit := s.base().terms, limit
		if n, ok := o.limits[terms.Store]; ok {
			limit = n
			delete(o.limits, terms.Store)
		}
		err = cmp.Or(err, checkRange("the limit", limit, 1, maxLimit))
		c.From[i] = backends.From{Terms: terms, Limit: limit}
	}
	for name := range o.limits {
		err = cmp.Or(err, fmt.Errorf("%w: WithLimit names store %q, which is not in the inbox",
			ErrInvalid, name))
	}
	if o.hasClaimID {
		err = cmp.Or(err, checkRange("the claim id's length", len(o.claimID), 1, maxKey))
		parts := []string{mailbox, o.claimID}
		for _, from := range c.From {
			parts = append(parts, from.Store)
		}
		slices.Sort(parts[2:])
		c.ID = backends.Digest(parts...) // bound to the mailbox and the set of stores
	} else {
		c.ID = rand.Text()
	}
	return c, err
}

// claims converts claimed records for the caller. Its error joins the backend's problems and a
// DecodeError for each record that cannot be read.
func (s *PendingStore[T]) claims(
	records []backends.Record, problems []error) (claims []*Claim[T], err error) {
	for _, problem := range problems {
		err = errors.Join(err, s.failed("read", "", problem))
	}
	for _, rec := range records {
		r, decodeErr := s.request(rec)
		if decodeErr != nil {
			err = errors.Join(err, decodeErr)
			continue
		}
		claims = append(claims, claim(rec, r))
	}
	return claims, err
}

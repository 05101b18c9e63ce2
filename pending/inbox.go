package pending

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pendingq/pendingq/backends"
)

// Inbox claims from several stores of one mailbox in one round trip, as for the heartbeat of a
// runtime. Make one with [NewInbox]. It may be used concurrently.
type Inbox struct{ stores []Source }

// Source is a store that an [Inbox] claims from: a *[PendingStore] of any payload.
type Source interface {
	base() *core
	// take converts what a claim got into a []*Claim[T], which may be empty.
	take(c backends.Claimed) (any, error)
}

func (s *PendingStore[T]) base() *core {
	if s == nil {
		return nil
	}
	return &s.core
}

func (s *PendingStore[T]) take(c backends.Claimed) (any, error) {
	return s.claims(c.Records, c.Errs)
}

// NewInbox makes an Inbox of stores that share one backend, each store once. Otherwise it returns
// [ErrInvalid].
func NewInbox(stores ...Source) (*Inbox, error) {
	err := errors.New("it has no stores")
	for i, s := range stores {
		if err = checkSource(s, stores[:i]); err != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pending: new inbox: %w: %w", ErrInvalid, err)
	}
	return &Inbox{slices.Clone(stores)}, nil
}

func checkSource(s Source, others []Source) error {
	if s == nil || s.base() == nil {
		return errors.New("a store is nil")
	}
	name := s.base().policy.Name
	for _, other := range others {
		if name == other.base().policy.Name {
			return fmt.Errorf("store %q is in it twice", name)
		}
		if s.base().backend != other.base().backend {
			return fmt.Errorf("store %q has another backend than the others", name)
		}
	}
	return nil
}

func (in *Inbox) backend() backends.Backend { return in.stores[0].base().backend }

// Delivery is what an [Inbox] claimed. Read it store by store with [Claimed].
type Delivery struct {
	claims   map[string]any // a []*Claim[T] for each store of the inbox, by its name
	requests int            // how many were claimed, including those that cannot be read
}

// empty reports whether a delivery holds nothing, although it may come with an error.
func (d *Delivery) empty() bool { return d != nil && d.requests == 0 }

// Claimed returns what a delivery has of one store, the longest claimable first. It looks the store
// up by its name. It returns [ErrInvalid] if the inbox has no such store, or one with another type
// of payload. A nil delivery holds nothing.
func Claimed[T any](d *Delivery, s *PendingStore[T]) ([]*Claim[T], error) {
	if d == nil {
		return nil, nil
	}
	claims, ok := d.claims[s.policy.Name].([]*Claim[T])
	if !ok {
		return nil, fmt.Errorf("pending: read delivery: %w: the inbox has no store %q of this type",
			ErrInvalid, s.policy.Name)
	}
	return claims, nil
}

var errNothing = fmt.Errorf("pending: pop from inbox: %w", ErrNoPending)

// Pop claims one request of each store, or up to [WithLimit] of it, the longest claimable first. It
// returns [ErrNoPending] if there is nothing to claim.
//
// A delivery may come together with an error, about what the pop had to pass over: a joined
// [DecodeError] for each request that cannot be read, and the error of each store whose keys are
// damaged. So look at the delivery first. With such an error a delivery may hold nothing. Without a
// delivery the error is about the whole pop.
func (in *Inbox) Pop(ctx context.Context, mailbox string, opts ...PopOption) (*Delivery, error) {
	return in.pop(ctx, mailbox, 1, opts)
}

// pop is Pop with another default limit.
func (in *Inbox) pop(
	ctx context.Context, mailbox string, limit int, opts []PopOption) (*Delivery, error) {
	c, err := newClaim(in.stores, mailbox, limit, collect[popOptions](opts))
	if err != nil {
		return nil, popFailed(mailbox, err)
	}
	claimed, err := in.backend().Claim(ctx, c)
	if err != nil {
		return nil, popFailed(mailbox, err)
	}
	d, problems := in.deliver(claimed)
	if d == nil {
		return nil, errNothing
	}
	return d, problems
}

func popFailed(mailbox string, err error) error {
	return fmt.Errorf("pending: pop from inbox for %.80q: %w", mailbox, err)
}

// PopMany pops for many mailboxes at once, as for a machine that hosts many runtimes. It takes one
// round trip, or one for each node of a cluster, if the backend can do that. It returns a delivery
// for each mailbox, in their order. A delivery is nil if its mailbox has nothing or if its pop
// failed. The error joins what Pop would have returned for each, except [ErrNoPending], which
// PopMany returns only if no mailbox has anything and no pop failed.
func (in *Inbox) PopMany(
	ctx context.Context, mailboxes []string, opts ...PopOption) ([]*Delivery, error) {
	claims := make([]backends.Claim, len(mailboxes))
	for i, mailbox := range mailboxes {
		c, err := newClaim(in.stores, mailbox, 1, collect[popOptions](opts))
		if err != nil {
			return nil, popFailed(mailbox, err)
		}
		claims[i] = c
	}
	deliveries, found := make([]*Delivery, len(mailboxes)), false
	var problems error
	for i, result := range claimMany(ctx, in.backend(), claims) {
		d, err := in.deliver(result.Claimed)
		if err = cmp.Or(result.Err, err); err != nil {
			problems = errors.Join(problems, popFailed(mailboxes[i], err))
		}
		deliveries[i], found = d, found || d != nil
	}
	if !found && problems == nil {
		problems = errNothing
	}
	return deliveries, problems
}

// claimMany makes the claims one by one if the backend has no better way.
func claimMany(
	ctx context.Context, b backends.Backend, claims []backends.Claim) []backends.ClaimResult {
	if many, ok := backends.As[backends.ManyClaimer](b); ok {
		return many.ClaimMany(ctx, claims)
	}
	results := make([]backends.ClaimResult, len(claims))
	for i, c := range claims {
		results[i].Claimed, results[i].Err = b.Claim(ctx, c)
	}
	return results
}

// deliver converts what a claim got. It returns no delivery if that is nothing.
func (in *Inbox) deliver(claimed []backends.Claimed) (d *Delivery, problems error) {
	something := func(c backends.Claimed) bool { return len(c.Records) > 0 || len(c.Errs) > 0 }
	if !slices.ContainsFunc(claimed, something) {
		return nil, nil
	}
	d = &Delivery{claims: map[string]any{}}
	for i, s := range in.stores {
		claims, err := s.take(claimed[i])
		problems = errors.Join(problems, err)
		d.claims[s.base().policy.Name] = claims
		d.requests += len(claimed[i].Records)
	}
	return d, problems
}

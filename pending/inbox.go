package pending

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pendingq/pendingq/backends"
)

// Inbox claims from several stores of one mailbox in one round trip, as for the heartbeat of a
// runtime. Make one with [NewInbox]. It may be used concurrently.
type Inbox struct {
	sources []Source
	cores   []*core
}

// Source is a store that an [Inbox] claims from: a *[PendingStore] of any payload.
type Source interface {
	source() *core
	// take converts records into a []*Claim[T], which may be empty. Its error joins a DecodeError
	// for each record that cannot be read.
	take(records []backends.Record) (any, error)
}

func (s *PendingStore[T]) source() *core {
	if s == nil {
		return nil
	}
	return &s.core
}

func (s *PendingStore[T]) take(records []backends.Record) (any, error) { return s.claims(records) }

// NewInbox makes an Inbox of stores that share one backend, each store once. Otherwise it returns
// [ErrInvalid].
func NewInbox(stores ...Source) (*Inbox, error) {
	in := &Inbox{sources: stores}
	for _, s := range stores {
		if err := in.add(s); err != nil {
			return nil, fmt.Errorf("pending: new inbox: %w: %w", ErrInvalid, err)
		}
	}
	if len(stores) == 0 {
		return nil, fmt.Errorf("pending: new inbox: %w: it has no stores", ErrInvalid)
	}
	return in, nil
}

func (in *Inbox) add(s Source) error {
	if s == nil || s.source() == nil {
		return errors.New("a store is nil")
	}
	c := s.source()
	for _, other := range in.cores {
		if other.policy.Name == c.policy.Name {
			return fmt.Errorf("store %q is in it twice", c.policy.Name)
		}
		if other.backend != c.backend {
			return fmt.Errorf("store %q has another backend than store %q",
				c.policy.Name, other.policy.Name)
		}
	}
	in.cores = append(in.cores, c)
	return nil
}

// Delivery is what an [Inbox] claimed. Read it store by store with [Claimed].
type Delivery struct {
	claims map[string]any // a []*Claim[T] for each store of the inbox, by its name
}

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

// Pop claims one request of each store, or up to [WithLimit] of it, the longest claimable first. It
// returns [ErrNoPending] if there is nothing to claim.
//
// A delivery may come together with an error, about what the pop had to pass over: a joined
// [DecodeError] for each request that cannot be read, and the error of each store whose keys are
// damaged. So look at the delivery first. With such an error a delivery may hold nothing. Without a
// delivery the error is about the whole pop.
func (in *Inbox) Pop(ctx context.Context, mailbox string, opts ...PopOption) (*Delivery, error) {
	d, problems, err := in.pop(ctx, mailbox, opts)
	switch {
	case err != nil:
		return nil, err
	case d == nil && problems == nil:
		return nil, fmt.Errorf("pending: pop from inbox: %w", ErrNoPending)
	case d == nil:
		d = in.newDelivery()
	}
	return d, problems
}

// pop returns no delivery if there is nothing to claim. Problems are about parts, err is about the
// whole.
func (in *Inbox) pop(ctx context.Context, mailbox string, opts []PopOption) (
	d *Delivery, problems, err error) {
	c, err := in.newClaim(mailbox, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("pending: pop from inbox: %w", err)
	}
	claimed, err := in.cores[0].backend.Claim(ctx, c)
	if err != nil {
		return nil, nil, popFailed(mailbox, err)
	}
	d, problems = in.deliver(claimed)
	return d, problems, nil
}

func popFailed(mailbox string, err error) error {
	return fmt.Errorf("pending: pop from inbox for %s: %w", strconv.Quote(mailbox), err)
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
		c, err := in.newClaim(mailbox, opts)
		if err != nil {
			return nil, fmt.Errorf("pending: pop from inbox: %w", err)
		}
		claims[i] = c
	}
	deliveries, found := make([]*Delivery, len(mailboxes)), false
	var problems error
	for i, result := range claimMany(ctx, in.cores[0].backend, claims) {
		err := result.Err
		if err == nil {
			deliveries[i], err = in.deliver(result.Claimed)
			found = found || deliveries[i] != nil
		}
		if err != nil {
			problems = errors.Join(problems, popFailed(mailboxes[i], err))
		}
	}
	if !found && problems == nil {
		problems = fmt.Errorf("pending: pop from inbox: %w", ErrNoPending)
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

func (in *Inbox) newClaim(mailbox string, opts []PopOption) (backends.Claim, error) {
	c, o, err := newClaim(mailbox, in.cores, opts)
	if err != nil {
		return c, err
	}
	for i, store := range in.cores {
		limit, limited := o.limits[store.policy.Name]
		if !limited {
			continue
		}
		if err := checkLimit(limit); err != nil {
			return c, fmt.Errorf("%s: %w", store.policy.Name, err)
		}
		c.From[i].Limit = limit
		delete(o.limits, store.policy.Name)
	}
	for name := range o.limits {
		return c, fmt.Errorf("%w: WithLimit names store %q, which is not in the inbox",
			ErrInvalid, name)
	}
	return c, nil
}

// deliver converts what a claim got. It returns no delivery if that is nothing.
func (in *Inbox) deliver(claimed []backends.Claimed) (*Delivery, error) {
	var d *Delivery
	var problems error
	for i, from := range claimed {
		problems = errors.Join(problems, in.cores[i].passedOver(from))
		if len(from.Records) == 0 {
			continue
		}
		claims, err := in.sources[i].take(from.Records)
		problems = errors.Join(problems, err)
		if d == nil {
			d = in.newDelivery()
		}
		d.claims[in.cores[i].policy.Name] = claims
	}
	return d, problems
}

// newDelivery returns a delivery that has nothing of any store.
func (in *Inbox) newDelivery() *Delivery {
	d := &Delivery{claims: make(map[string]any, len(in.cores))}
	for i, source := range in.sources {
		d.claims[in.cores[i].policy.Name], _ = source.take(nil)
	}
	return d
}

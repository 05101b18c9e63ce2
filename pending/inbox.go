package pending

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pendingq/pendingq/backends"
)

// Inbox claims from several stores of one mailbox in one round trip, as a runtime's heartbeat wants it. Make
// one with [NewInbox]. It may be used concurrently.
type Inbox struct {
	sources []Source
	cores   []*core
}

// Source is a store that an [Inbox] claims from: a *[PendingStore] of any payload.
type Source interface {
	source() *core
	// take turns records into a []*Request[T], which may be empty; those that cannot be read are in its error.
	take(records []backends.Record) (any, error)
}

func (s *PendingStore[T]) source() *core {
	if s == nil {
		return nil
	}
	return &s.core
}

func (s *PendingStore[T]) take(records []backends.Record) (any, error) { return s.requests(records) }

// NewInbox makes an Inbox of stores that share one backend, each store once. Otherwise it is [ErrInvalid].
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
			return fmt.Errorf("store %q has another backend than store %q", c.policy.Name, other.policy.Name)
		}
	}
	in.cores = append(in.cores, c)
	return nil
}

// Delivery is what an [Inbox] claimed. Read it store by store with [Claimed].
type Delivery struct {
	requests map[*core]any // a []*Request[T] for each store that gave something
}

// Claimed returns what a delivery has of one store, the longest claimable first.
func Claimed[T any](d *Delivery, s *PendingStore[T]) []*Request[T] {
	if d == nil {
		return nil
	}
	requests, _ := d.requests[&s.core].([]*Request[T])
	return requests
}

// Pop claims one request of each store, or up to [WithLimit] of it, the longest claimable first. A delivery with
// nothing in it is no error.
//
// What fails in part is reported beside the rest: requests that cannot be read as a joined [DecodeError], and
// stores whose keys are broken. Without a delivery the error is about the whole.
func (in *Inbox) Pop(ctx context.Context, mailbox string, opts ...PopOption) (*Delivery, error) {
	c, err := in.newClaim(mailbox, opts)
	if err != nil {
		return nil, fmt.Errorf("pending: pop from inbox: %w", err)
	}
	claimed, err := in.cores[0].backend.Claim(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("pending: pop from inbox for %s: %w", strconv.Quote(mailbox), err)
	}
	return in.deliver(claimed)
}

// PopMany pops for many mailboxes at once, as a machine that hosts many runtimes wants it: in one round trip, or one a
// node of a cluster, where the backend can. It returns a delivery for each mailbox, in their order, and nil for one
// that failed as a whole. Its error joins what Pop would have returned for each.
func (in *Inbox) PopMany(ctx context.Context, mailboxes []string, opts ...PopOption) ([]*Delivery, error) {
	claims := make([]backends.Claim, len(mailboxes))
	for i, mailbox := range mailboxes {
		c, err := in.newClaim(mailbox, opts)
		if err != nil {
			return nil, fmt.Errorf("pending: pop from inbox: %w", err)
		}
		claims[i] = c
	}
	deliveries := make([]*Delivery, len(mailboxes))
	var problems error
	for i, result := range claimMany(ctx, in.cores[0].backend, claims) {
		err := result.Err
		if err == nil {
			deliveries[i], err = in.deliver(result.Claimed)
		}
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("pending: pop from inbox for %s: %w", strconv.Quote(mailboxes[i]), err))
		}
	}
	return deliveries, problems
}

// claimMany makes the claims one by one where the backend knows no better.
func claimMany(ctx context.Context, b backends.Backend, claims []backends.Claim) []backends.ClaimResult {
	if many, ok := b.(backends.ManyClaimer); ok {
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
		limit, limited := o.limits[store]
		if !limited {
			continue
		}
		if err := checkLimit(limit); err != nil {
			return c, fmt.Errorf("%s: %w", store.policy.Name, err)
		}
		c.From[i].Limit = limit
		delete(o.limits, store)
	}
	for store := range o.limits {
		return c, fmt.Errorf("%w: WithLimit names store %q, which is not in the inbox", ErrInvalid, store.policy.Name)
	}
	return c, nil
}

func (in *Inbox) deliver(claimed []backends.Claimed) (*Delivery, error) {
	d := &Delivery{}
	var problems error
	for i, from := range claimed {
		problems = errors.Join(problems, in.cores[i].passedOver(from))
		if len(from.Records) == 0 {
			continue
		}
		requests, err := in.sources[i].take(from.Records)
		problems = errors.Join(problems, err)
		if d.requests == nil {
			d.requests = map[*core]any{}
		}
		d.requests[in.cores[i]] = requests
	}
	return d, problems
}

package pending

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
)

// PopOption configures one pop.
type PopOption func(*popOptions)

type popOptions struct {
	claimID    string
	hasClaimID bool
	limits     []backends.From // the stores and limits of WithLimit
}

// WithClaimID lets the caller repeat a pop. The id has 1 to 512 bytes. A pop with the same id,
// mailbox and stores is a repeat: it claims nothing new. It returns the first pop's requests that
// still run at their attempt, and ignores its own limits. The backend remembers an id until the
// latest deadline that the first pop set. It does not remember a pop that claimed nothing.
func WithClaimID(id string) PopOption {
	return func(o *popOptions) { o.claimID, o.hasClaimID = id, true }
}

// WithLimit lets a pop of an [Inbox] claim up to n requests of s, 1 to 100. The default is one.
func WithLimit[T any](s *PendingStore[T], n int) PopOption {
	from := backends.From{Terms: s.terms, Limit: n}
	return func(o *popOptions) { o.limits = append(o.limits, from) }
}

// PopPending claims the request that has been claimable longest. Exactly one caller gets it. The
// worker then has the policy's RunningTimeout to end the request or to call Extend.
//
// It returns [ErrNoPending] if there is nothing to claim, and a [DecodeError] for a claimed request
// that cannot be read. It may return a claim and an error: the error is about unreadable requests
// that the pop skipped. So look at the claim first.
func (s *PendingStore[T]) PopPending(
	ctx context.Context, mailbox string, opts ...PopOption) (*Claim[T], error) {
	claims, _, err := s.pop(ctx, mailbox, 1, opts)
	return append(claims, nil)[0], err
}

// PopPendingBatch claims up to limit requests, 1 to 100, as PopPending does. It may return claims
// and an error. The error joins a [DecodeError] for each request that cannot be read.
func (s *PendingStore[T]) PopPendingBatch(
	ctx context.Context, mailbox string, limit int, opts ...PopOption) ([]*Claim[T], error) {
	claims, _, err := s.pop(ctx, mailbox, limit, opts)
	return claims, err
}

// pop implements PopPendingBatch. Nothing is true if the backend could claim nothing: the error is
// ErrNoPending, or about requests that were skipped.
func (s *PendingStore[T]) pop(ctx context.Context, mailbox string, limit int, opts []PopOption) (
	claims []*Claim[T], nothing bool, err error) {
	o := collect[popOptions](opts)
	c, err := newClaim([]Source{s}, mailbox, limit, o)
	if o.limits != nil {
		err = check.Invalid("WithLimit is for an Inbox")
	}
	var claimed []backends.Claimed
	if err == nil {
		claimed, err = s.backend.Claim(ctx, c)
	}
	if err != nil {
		return nil, false, s.failed("pop", mailbox, err)
	}
	claims, err = s.claims(claimed[0])
	nothing = len(claimed[0].Records) == 0
	if nothing && err == nil {
		err = s.noPending
	}
	return claims, nothing, err
}

// newClaim makes a claim of up to limit requests of each store. WithLimit replaces the limit.
func newClaim(
	stores []Source, mailbox string, limit int, o popOptions) (c backends.Claim, err error) {
	err = cmp.Or(check.Mailbox(mailbox), check.Range("the limit", limit, 1, check.MaxLimit))
	if len(stores) == 0 {
		err = check.Invalid("the inbox was not made by NewInbox")
	}
	c = backends.Claim{Mailbox: mailbox, From: make([]backends.From, len(stores))}
	for i, s := range stores {
		c.From[i] = backends.From{Terms: s.base().terms, Limit: limit}
	}
	for _, limited := range o.limits {
		named := func(f backends.From) bool { return f.Store == limited.Store }
		i := slices.IndexFunc(c.From, named)
		if i < 0 {
			return c, check.Invalid("WithLimit names store %q, which is not in the inbox",
				limited.Store)
		}
		c.From[i].Limit = limited.Limit
		err = cmp.Or(err, check.Range("the limit", limited.Limit, 1, check.MaxLimit))
	}
	if !o.hasClaimID {
		c.ID = rand.Text()
		return c, err
	}
	c.ID = check.ClaimID(o.claimID, mailbox, c.From)
	return c, cmp.Or(err, check.Range("the claim id's length", len(o.claimID), 1, check.MaxName))
}

// claims converts the result of a claim. Its error joins the errors of skipped records and a
// DecodeError for each payload that cannot be decoded.
func (s *PendingStore[T]) claims(c backends.Claimed) (claims []*Claim[T], err error) {
	for _, problem := range c.Errs {
		err = errors.Join(err, s.failed("read", "", problem))
	}
	for _, rec := range c.Records {
		c, decodeErr := s.claim(rec)
		err = errors.Join(err, decodeErr)
		if decodeErr == nil {
			claims = append(claims, c)
		}
	}
	return claims, err
}

// Source is a store that an [Inbox] claims from: a *[PendingStore] of any payload.
type Source interface {
	base() *core
	anyClaims(c backends.Claimed) (any, error) // claims, as a []*Claim[T]
}

func (s *PendingStore[T]) base() *core { return &s.core }

func (s *PendingStore[T]) anyClaims(c backends.Claimed) (any, error) { return s.claims(c) }

// Inbox claims requests of several stores for one mailbox in one round trip, such as the heartbeat
// of a runtime. Make one with [NewInbox]. It may be used concurrently.
type Inbox struct {
	backend backends.Backend // of all stores
	stores  []Source
}

// NewInbox makes an Inbox of stores that share a backend, each once. Otherwise: [ErrInvalid].
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
	return &Inbox{stores[0].base().backend, slices.Clone(stores)}, nil
}

func checkSource(s Source, others []Source) error {
	if check.IsNil(s) {
		return errors.New("a store is nil")
	}
	name, b := s.base().policy.Name, s.base().backend
	if b == nil {
		return errors.New("a store was not made by New")
	}
	for _, other := range others {
		switch {
		case name == other.base().policy.Name:
			return fmt.Errorf("store %q is in it twice", name)
		case !reflect.ValueOf(b).Comparable():
			return fmt.Errorf("backend %T of store %q cannot be compared: use a pointer", b, name)
		case b != other.base().backend:
			return fmt.Errorf("store %q has another backend than the others", name)
		}
	}
	return nil
}

// Delivery holds the requests that an [Inbox] claimed. [Claimed] returns the claims of one store.
type Delivery struct {
	claims   map[string]any // a []*Claim[T] for each store of the inbox, by its name
	requests int            // how many requests were claimed, readable or not
}

// Claimed returns the claims of one store in a delivery, the longest claimable first. It finds the
// store by name. It returns [ErrInvalid] if the inbox has no store of that name, or if that store
// has another payload type. A nil delivery has no claims.
func Claimed[T any](d *Delivery, s *PendingStore[T]) ([]*Claim[T], error) {
	if d == nil {
		return nil, nil
	}
	claims, ok := d.claims[s.policy.Name].([]*Claim[T])
	if !ok {
		return nil, fmt.Errorf("pending: read delivery: %w",
			check.Invalid("the inbox has no store %q of this type", s.policy.Name))
	}
	return claims, nil
}

const popFailed = "pending: pop from inbox for %.80q: %w"

var errNothing = fmt.Errorf("pending: pop from inbox: %w", ErrNoPending)

// Pop claims one request of each store, or up to as many as [WithLimit] allows, the longest
// claimable first. It returns [ErrNoPending] if there is nothing to claim.
//
// Pop may return a delivery and an error. The error joins a [DecodeError] for each unreadable
// request and the error of each unreadable queue. So look at the delivery first. It may be empty.
// If the delivery is nil, the whole pop failed.
func (in *Inbox) Pop(ctx context.Context, mailbox string, opts ...PopOption) (*Delivery, error) {
	return in.pop(ctx, mailbox, 1, collect[popOptions](opts))
}

func (in *Inbox) pop(
	ctx context.Context, mailbox string, limit int, o popOptions) (*Delivery, error) {
	c, err := newClaim(in.stores, mailbox, limit, o)
	var claimed []backends.Claimed
	if err == nil {
		claimed, err = in.backend.Claim(ctx, c)
	}
	return in.deliver(mailbox, claimed, err)
}

// PopMany pops from many mailboxes at once, such as those of a machine with many runtimes. If the
// backend supports this, PopMany takes one round trip, or one for each node of a cluster. It
// returns a delivery or nil for each mailbox, in the order of mailboxes, and joins the errors of
// the pops. It returns [ErrNoPending] only if all mailboxes are empty and no pop failed.
func (in *Inbox) PopMany(
	ctx context.Context, mailboxes []string, opts ...PopOption) ([]*Delivery, error) {
	claims := make([]backends.Claim, len(mailboxes))
	for i, mailbox := range mailboxes {
		c, err := newClaim(in.stores, mailbox, 1, collect[popOptions](opts))
		if err != nil {
			return nil, fmt.Errorf(popFailed, mailbox, err)
		}
		claims[i] = c
	}
	deliveries, nothing := make([]*Delivery, len(mailboxes)), true
	var problems error
	for i, result := range backends.ClaimMany(ctx, in.backend, claims) {
		d, err := in.deliver(mailboxes[i], result.Claimed, result.Err)
		if !errors.Is(err, ErrNoPending) {
			deliveries[i], nothing = d, false
			problems = errors.Join(problems, err)
		}
	}
	if nothing {
		return deliveries, errNothing
	}
	return deliveries, problems
}

// deliver converts the result of a claim. If the claim found nothing, it returns errNothing.
func (in *Inbox) deliver(
	mailbox string, claimed []backends.Claimed, err error) (d *Delivery, problems error) {
	if err != nil {
		return nil, fmt.Errorf(popFailed, mailbox, err)
	}
	something := func(c backends.Claimed) bool { return len(c.Records) > 0 || len(c.Errs) > 0 }
	if !slices.ContainsFunc(claimed, something) {
		return nil, errNothing
	}
	d = &Delivery{claims: map[string]any{}}
	for i, s := range in.stores {
		claims, err := s.anyClaims(claimed[i])
		problems = errors.Join(problems, err)
		d.claims[s.base().policy.Name] = claims
		d.requests += len(claimed[i].Records)
	}
	return d, problems
}

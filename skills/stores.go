package skills

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// newStore makes a store that writes msgpack, the smaller and faster codec. The store also reads
// JSON, so the codec can be changed while requests are stored.
func newStore[T any](b backends.Backend, p pending.Policy) (*pending.PendingStore[T], error) {
	return pending.New(b, codec.Msgpack[T](), p, pending.AlsoReads(codec.JSON[T]()))
}

// Policies are the policies of the five stores.
type Policies struct{ Lists, Imports, Pings, Updates, ModelLists pending.Policy }

// Stores are the five stores of one backend. Make them with [New].
type Stores struct {
	Lists      *pending.PendingStore[List]
	Imports    *pending.PendingStore[Import]
	Pings      *pending.PendingStore[Ping]
	Updates    *pending.PendingStore[Update]
	ModelLists *pending.PendingStore[ModelList]

	inbox    *pending.Inbox
	backend  backends.Backend
	policies Policies
}

// New makes the five stores over one backend. Each change may change the policies, except for their
// names. All nodes should make the same changes. Do not shorten the RunningTimeout of Updates:
// package daemon reports every 50 s that an update runs, which is a third of the default.
func New(b backends.Backend, change ...func(*Policies)) (*Stores, error) {
	p := Policies{ListPolicy(), ImportPolicy(), PingPolicy(), UpdatePolicy(), ModelListPolicy()}
	for _, f := range change {
		f(&p)
	}
	s := Stores{backend: b, policies: p}
	var errs [5]error
	s.Lists, errs[0] = newStore[List](b, p.Lists)
	s.Imports, errs[1] = newStore[Import](b, p.Imports)
	s.Pings, errs[2] = newStore[Ping](b, p.Pings)
	s.Updates, errs[3] = newStore[Update](b, p.Updates)
	s.ModelLists, errs[4] = newStore[ModelList](b, p.ModelLists)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("skills: %w", err)
	}
	inbox, err := pending.NewInbox(s.Lists, s.Imports, s.Pings, s.Updates, s.ModelLists)
	if err != nil {
		return nil, fmt.Errorf("skills: %w", err)
	}
	s.inbox = inbox
	return &s, nil
}

// Backend returns the backend of the stores.
func (s *Stores) Backend() backends.Backend { return s.backend }

// Policies returns the policies of the stores.
func (s *Stores) Policies() Policies { return s.policies }

// Work is the set of requests that a runtime has claimed: up to [MaxImports] imports, and at most
// one request of each other kind. The runtime reports with the ID and the Attempt of each claim.
// See [pending.PendingStore.Held].
type Work struct {
	List      *pending.Claim[List]
	Imports   []*pending.Claim[Import]
	Ping      *pending.Claim[Ping]
	Update    *pending.Claim[Update]
	ModelList *pending.Claim[ModelList]
}

// MaxImports is how many imports a heartbeat claims by default. Use pending.WithLimit(s.Imports, 1)
// for a runtime that does not support batches. A heartbeat never claims more than one request of
// another kind.
const MaxImports = 10

// Empty reports whether there is nothing to do.
func (w *Work) Empty() bool {
	return w.List == nil && len(w.Imports) == 0 && w.Ping == nil && w.Update == nil &&
		w.ModelList == nil
}

// Heartbeat claims the pending requests of a runtime from all five stores, in one round trip. If
// there are none, it returns an empty Work and no error. Work may come together with an error about
// parts of it, as in [pending.Inbox.Pop]. Without Work the error is about the whole heartbeat. A
// caller that uses pending.WithClaimID can retry a heartbeat whose answer was lost.
func (s *Stores) Heartbeat(
	ctx context.Context, runtimeID string, opts ...pending.PopOption) (*Work, error) {
	d, err := s.inbox.Pop(ctx, runtimeID, s.withLimits(opts)...)
	switch {
	case errors.Is(err, pending.ErrNoPending):
		return &Work{}, nil
	case d == nil:
		return nil, fmt.Errorf("skills: heartbeat: %w", err)
	}
	return s.work(d, err)
}

// AwaitWork waits until there is work and claims it as Heartbeat does. It follows the rules of
// [pending.Inbox.Await]: if ctx ends first, it returns no Work and ctx's error.
func (s *Stores) AwaitWork(
	ctx context.Context, runtimeID string, opts ...pending.PopOption) (*Work, error) {
	d, err := s.inbox.Await(ctx, runtimeID, s.withLimits(opts)...)
	if d == nil {
		return nil, fmt.Errorf("skills: await work: %w", err)
	}
	return s.work(d, err)
}

// withLimits adds limits to the caller's options. The caller may override the default limit of
// imports, but not the other limits: Work has room for one claim of each other kind.
func (s *Stores) withLimits(opts []pending.PopOption) []pending.PopOption {
	return slices.Concat(
		[]pending.PopOption{pending.WithLimit(s.Imports, MaxImports)},
		opts,
		[]pending.PopOption{
			pending.WithLimit(s.Lists, 1), pending.WithLimit(s.Pings, 1),
			pending.WithLimit(s.Updates, 1), pending.WithLimit(s.ModelLists, 1),
		})
}

// work sorts a delivery by store. Problems is the error about parts of the pop. The returned error
// includes it.
func (s *Stores) work(d *pending.Delivery, problems error) (*Work, error) {
	var w Work
	errs := [6]error{problems}
	w.List, errs[1] = first(pending.Claimed(d, s.Lists))
	w.Imports, errs[2] = pending.Claimed(d, s.Imports)
	w.Ping, errs[3] = first(pending.Claimed(d, s.Pings))
	w.Update, errs[4] = first(pending.Claimed(d, s.Updates))
	w.ModelList, errs[5] = first(pending.Claimed(d, s.ModelLists))
	return &w, errors.Join(errs[:]...)
}

func first[T any](claims []*pending.Claim[T], err error) (*pending.Claim[T], error) {
	if len(claims) == 0 {
		return nil, err
	}
	return claims[0], err
}

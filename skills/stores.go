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

// newStore makes a store that writes msgpack, the smaller and faster codec, and reads JSON as well, so that the
// codec can be changed without losing what is stored.
func newStore[T any](b backends.Backend, p pending.Policy) (*pending.PendingStore[T], error) {
	return pending.New(b, codec.Msgpack[T](), p, pending.AlsoReads(codec.JSON[T]()))
}

// Stores are the five stores of one backend. Make them with [New].
type Stores struct {
	Lists      *pending.PendingStore[List]
	Imports    *pending.PendingStore[Import]
	Pings      *pending.PendingStore[Ping]
	Updates    *pending.PendingStore[Update]
	ModelLists *pending.PendingStore[ModelList]

	inbox *pending.Inbox
}

// New makes the five stores over one backend.
func New(b backends.Backend) (*Stores, error) {
	var s Stores
	var errs [5]error
	s.Lists, errs[0] = NewListStore(b)
	s.Imports, errs[1] = NewImportStore(b)
	s.Pings, errs[2] = NewPingStore(b)
	s.Updates, errs[3] = NewUpdateStore(b)
	s.ModelLists, errs[4] = NewModelListStore(b)
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

// Work is what a runtime has to do: at most one request of each kind, and up to [MaxImports] imports.
type Work struct {
	List      *pending.Request[List]
	Imports   []*pending.Request[Import]
	Ping      *pending.Request[Ping]
	Update    *pending.Request[Update]
	ModelList *pending.Request[ModelList]
}

// MaxImports is how many imports a heartbeat claims unless an option says otherwise: pending.WithLimit(s.Imports,
// 1) is for a runtime that knows no batches. The other kinds come one at a time, whatever the options.
const MaxImports = 10

// Empty reports whether there is nothing to do.
func (w *Work) Empty() bool {
	return w.List == nil && len(w.Imports) == 0 && w.Ping == nil && w.Update == nil && w.ModelList == nil
}

// Heartbeat claims what all five stores have for a runtime, in one round trip. Nothing to do is no error. What
// fails in part is reported beside the rest, as by [pending.Inbox.Pop]; without Work the error is about the
// whole. With pending.WithClaimID a heartbeat whose answer was lost can be repeated.
func (s *Stores) Heartbeat(ctx context.Context, runtimeID string, opts ...pending.PopOption) (*Work, error) {
	d, err := s.inbox.Pop(ctx, runtimeID, s.limited(opts)...)
	if d == nil {
		return nil, fmt.Errorf("skills: heartbeat: %w", err)
	}
	return s.work(d), err
}

// AwaitWork waits until there is work and claims it as Heartbeat does, with the rules of [pending.Inbox.Await]: when
// ctx ends first there is no Work and the error is ctx's.
func (s *Stores) AwaitWork(ctx context.Context, runtimeID string, opts ...pending.PopOption) (*Work, error) {
	d, err := s.inbox.Await(ctx, runtimeID, s.limited(opts)...)
	if d == nil {
		return nil, fmt.Errorf("skills: await work: %w", err)
	}
	return s.work(d), err
}

// limited puts the default limit in front of the caller's options, and behind them what Work has room for.
func (s *Stores) limited(opts []pending.PopOption) []pending.PopOption {
	return slices.Concat([]pending.PopOption{pending.WithLimit(s.Imports, MaxImports)}, opts, []pending.PopOption{
		pending.WithLimit(s.Lists, 1), pending.WithLimit(s.Pings, 1),
		pending.WithLimit(s.Updates, 1), pending.WithLimit(s.ModelLists, 1),
	})
}

func (s *Stores) work(d *pending.Delivery) *Work {
	return &Work{
		List:      first(pending.Claimed(d, s.Lists)),
		Imports:   pending.Claimed(d, s.Imports),
		Ping:      first(pending.Claimed(d, s.Pings)),
		Update:    first(pending.Claimed(d, s.Updates)),
		ModelList: first(pending.Claimed(d, s.ModelLists)),
	}
}

func first[T any](requests []*pending.Request[T]) *pending.Request[T] {
	if len(requests) == 0 {
		return nil
	}
	return requests[0]
}

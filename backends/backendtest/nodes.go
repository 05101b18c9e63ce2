package backendtest

import (
	"context"
	"sync/atomic"

	"github.com/pendingq/pendingq/backends"
)

// Nodes returns a Backend that makes each call on the next of several nodes in turn. Each node is a
// Backend over the same storage, such as one in another process. So a test of the returned Backend
// finds a memo, a cache, a lock or a signal that only one node has.
//
//	func TestConformanceOnThreeNodes(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backends.Backend {
//			storage := newStorage(t)
//			return backendtest.Nodes(open(storage), open(storage), open(storage))
//		})
//	}
//
// The result has the optional interfaces of the first node. Calls of these go to the first node,
// and all other calls to the others. So each signal is about a change by another node. At least one
// other node is needed.
func Nodes(first backends.Backend, others ...backends.Backend) backends.Backend {
	return &nodes{first: first, others: others}
}

type nodes struct {
	first  backends.Backend
	others []backends.Backend
	turn   atomic.Uint64
}

// Unwrap returns the node of the optional interfaces.
func (n *nodes) Unwrap() backends.Backend { return n.first }

func (n *nodes) next() backends.Backend {
	return n.others[n.turn.Add(1)%uint64(len(n.others))]
}

func (n *nodes) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	return n.next().Create(ctx, c)
}

func (n *nodes) Get(ctx context.Context, store, id string) (backends.Record, error) {
	return n.next().Get(ctx, store, id)
}

func (n *nodes) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	return n.next().HasPending(ctx, store, mailbox)
}

func (n *nodes) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	return n.next().Claim(ctx, c)
}

func (n *nodes) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	return n.next().Extend(ctx, x)
}

func (n *nodes) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	return n.next().Cancel(ctx, c)
}

func (n *nodes) End(ctx context.Context, e backends.End) (backends.Record, error) {
	return n.next().End(ctx, e)
}

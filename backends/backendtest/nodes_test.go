package backendtest

import (
	"context"
	"sync"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/wake"
)

// nodeFaults make a node over a shared sketch. One node alone passes the suite. Several do not.
var nodeFaults = map[string]struct {
	fault  string // of the sketch
	node   func(s *sketch, id string) backends.Backend
	caught string
}{
	"each node has its own memos": {"",
		func(s *sketch, id string) backends.Backend { return memoNode{s, id} },
		"a repeated claim returns the same requests and claims no more"},
	"each node has its own cache": {"",
		func(s *sketch, _ string) backends.Backend {
			return &cacheNode{sketch: s, cache: map[string]backends.Record{}}
		},
		"progress of any size is stored with the lease, and the next attempt gets it"},
	"each node has its own lock": {"a claim is not atomic",
		func(s *sketch, _ string) backends.Backend { return lockNode{s, make(chan struct{}, 1)} },
		"64 claimers of one request: one wins"},
	"each node signals only its own changes": {"",
		func(s *sketch, _ string) backends.Backend { return &wakeNode{sketch: s} },
		"an end wakes every watcher of its request"},
}

func TestTheSuiteFindsEachFaultOfSeveralNodes(t *testing.T) {
	for name, m := range nodeFaults {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, m.caught, func() backends.Backend {
				s := newSketch(m.fault)
				return Nodes(m.node(s, "1"), m.node(s, "2"), m.node(s, "3"))
			})
			for _, c := range allCases() {
				if c.name == m.caught {
					alone := func() backends.Backend { return m.node(newSketch(m.fault), "1") }
					wantNoReport(t, record(t, c, alone))
				}
			}
		})
	}
}

type memoNode struct {
	*sketch
	id string
}

func (n memoNode) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	c.ID = n.id + c.ID
	return n.sketch.Claim(ctx, c)
}

// cacheNode reads a record once, until the node extends a request.
type cacheNode struct {
	*sketch
	lock  sync.Mutex
	cache map[string]backends.Record
}

func (n *cacheNode) Get(ctx context.Context, store, id string) (backends.Record, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if rec, cached := n.cache[id]; cached {
		return rec, nil
	}
	rec, err := n.sketch.Get(ctx, store, id)
	if err == nil {
		n.cache[id] = rec
	}
	return rec, err
}

func (n *cacheNode) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	clear(n.cache)
	return n.sketch.Extend(ctx, x)
}

// lockNode makes one claim at a time. Its lock is a channel, since time passes in the sketch.
type lockNode struct {
	*sketch
	lock chan struct{}
}

func (n lockNode) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	n.lock <- struct{}{}
	defer func() { <-n.lock }()
	return n.sketch.Claim(ctx, c)
}

type wakeNode struct {
	*sketch
	own wake.Hub
}

func (n *wakeNode) WatchRequest(_ context.Context, id string) (<-chan struct{}, func()) {
	return n.own.Watch(id)
}

func (n *wakeNode) End(ctx context.Context, e backends.End) (backends.Record, error) {
	defer n.own.Wake(e.ID)
	return n.sketch.End(ctx, e)
}

func (n *wakeNode) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	defer n.own.Wake(c.ID)
	return n.sketch.Cancel(ctx, c)
}

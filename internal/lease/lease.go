// Package lease is what the claim in a handler shares with its Worker, which extends the lease of
// the claim meanwhile.
package lease

import (
	"context"
	"sync/atomic"

	"github.com/pendingq/pendingq/backends"
)

// Lease is shared by one handler and its Worker. Over, Cancelled and Reason belong to the one that
// has the turn.
type Lease struct {
	Over      bool   // the handler has ended or released the request
	Cancelled bool   // a cancel was requested, as the Worker knows it
	Reason    string // the reason of the cancel

	turn     chan struct{}                   // full during an operation on the claim
	progress atomic.Pointer[backends.Extend] // not sent yet; empty if all is sent
	ready    chan struct{}                   // full if there is progress to send
}

// New makes a Lease.
func New() *Lease {
	l := &Lease{turn: make(chan struct{}, 1), ready: make(chan struct{}, 1)}
	l.progress.Store(&backends.Extend{})
	return l
}

// Take waits for the turn to operate on the claim. Operations of the handler and the Worker must
// not overtake each other. If the turn is free, Take returns nil even after the end of ctx.
// Otherwise it returns the cause of that end.
func (l *Lease) Take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Leave ends the turn.
func (l *Lease) Leave() { <-l.turn }

// SendLater leaves progress to the Worker. It replaces progress that is not sent yet.
func (l *Lease) SendLater(progress backends.Extend) {
	l.progress.Store(&progress)
	l.Remind()
}

// Ready has a value if there is progress to send.
func (l *Lease) Ready() <-chan struct{} { return l.ready }

// Remind makes Ready have a value.
func (l *Lease) Remind() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// Unsent returns the progress that is not sent yet, or an empty Extend. A nil Lease has none.
func (l *Lease) Unsent() *backends.Extend {
	if l == nil {
		return &backends.Extend{}
	}
	return l.progress.Load()
}

// Forget forgets the progress that Unsent returned, unless newer progress has replaced it.
func (l *Lease) Forget(progress *backends.Extend) {
	l.progress.CompareAndSwap(progress, &backends.Extend{})
}

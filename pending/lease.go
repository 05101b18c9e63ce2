package pending

import (
	"context"
	"sync/atomic"

	"github.com/pendingq/pendingq/backends"
)

// lease is what the claim in a handler shares with its Worker, which extends the lease meanwhile.
type lease struct {
	turn     chan struct{}                   // full during an operation on the claim
	progress atomic.Pointer[backends.Extend] // not sent yet
	ready    chan struct{}                   // full if there is progress to send
	over     bool                            // the handler has ended or released the request

	cancelled bool // CancelRequested and CancelReason, as the Worker knows them
	reason    string
}

func newLease() *lease {
	return &lease{turn: make(chan struct{}, 1), ready: make(chan struct{}, 1)}
}

// take waits for the turn to operate on the claim. Operations of the handler and the Worker must
// not overtake each other. If the turn is free, take returns nil even after the end of ctx.
func (l *lease) take(ctx context.Context) error {
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

func (l *lease) leave() { <-l.turn }

// inTurn operates on a claim. In a handler it waits until the Worker does not, and tells the Worker
// when the claim is over.
func (c *Claim[T]) inTurn(ctx context.Context, operate func() error) error {
	if c == nil || c.lease == nil {
		return operate()
	}
	if err := c.lease.take(ctx); err != nil {
		return err
	}
	defer c.lease.leave()
	if c.lease.cancelled {
		c.CancelRequested, c.CancelReason = true, c.lease.reason
	}
	err := operate()
	c.lease.over = c.Status != StatusRunning
	return err
}

// unsent returns the progress that the Worker has not sent yet, if there is any, as an Extend.
func (c *Claim[T]) unsent() (x backends.Extend) {
	if c.lease == nil {
		return x
	}
	if progress := c.lease.progress.Load(); progress != nil {
		x = *progress
	}
	return x
}

// sendLater leaves progress to the Worker. It replaces progress that is not sent yet.
func (l *lease) sendLater(progress backends.Extend) {
	l.progress.Store(&progress)
	l.remind()
}

// remind tells the Worker that there is progress to send.
func (l *lease) remind() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

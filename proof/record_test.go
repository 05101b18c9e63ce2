package proof_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// call is one operation as its caller saw it. Times are microseconds since the epoch, by the same clock as the
// server's, since both are on one machine.
type call struct {
	op         any // a backends.Create, Claim, Extend, Cancel or End, a get or a look
	began, was int64
	rec        backends.Record    // the answer of a create, a get, a cancel or an end
	lease      backends.Lease     // of an extend
	claimed    []backends.Claimed // of a claim
	pending    bool               // of a look
	err        error
	lossy      bool // replies were lost meanwhile, or it was repeated: it may have happened before it was answered
	repeat     bool // the same operation has been called before
	abandoned  bool // its caller went away once: that sending may be executed even after the answer to a later one
}

// latest returns until when the call may have had its effect.
func (c *call) latest() int64 {
	if c.abandoned {
		return never
	}
	return c.was
}

// says returns the words of a Cancel or an End.
func (c *call) says() string {
	switch op := c.op.(type) {
	case backends.Cancel:
		return wording(op.Outcome, op.Error)
	case backends.End:
		return wording(op.Outcome, op.Error)
	}
	return ""
}

// wording is what tells an ending from others.
func wording(outcome, reason string) string { return outcome + ": " + reason }

type get struct {
	backends.Terms
	id string
}

type look struct {
	backends.Terms
	mailbox string
}

// perform makes the call.
func (c *call) perform(ctx context.Context, b backends.Backend) {
	switch op := c.op.(type) {
	case backends.Create:
		c.rec, c.err = b.Create(ctx, op)
	case backends.Claim:
		c.claimed, c.err = b.Claim(ctx, op)
	case backends.Extend:
		c.lease, c.err = b.Extend(ctx, op)
	case backends.Cancel:
		c.rec, c.err = b.Cancel(ctx, op)
	case backends.End:
		c.rec, c.err = b.End(ctx, op)
	case get:
		c.rec, c.err = b.Get(ctx, op.Store, op.id)
	case look:
		c.pending, c.err = b.HasPending(ctx, op.Store, op.mailbox)
	}
}

// never is when a call returns that was not answered.
const never = math.MaxInt64

// answered reports whether the backend decided, for or against.
func (c *call) answered() bool { return c.err == nil || refusal(c.err) }

// refusal tells a decision of the backend from a failure to reach it.
func refusal(err error) bool {
	for _, r := range []error{backends.ErrNotFound, backends.ErrEnded, backends.ErrStaleClaim, backends.ErrBusy, backends.ErrFull} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

// record collects calls from many goroutines.
type record struct {
	mu    sync.Mutex
	calls []*call
}

func (r *record) add(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

func clockMicros() int64 { return time.Now().UnixMicro() }

package calls

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Call is one operation as its caller saw it. Times are microseconds since the epoch, by the same
// clock as the server's, since both are on one machine.
type Call struct {
	Op         any // a backends.Create, Claim, Extend, Cancel or End, a get or a look
	Began, Was int64
	Rec        backends.Record    // the answer of a create, a get, a cancel or an end
	Lease      backends.Lease     // of an extend
	Claimed    []backends.Claimed // of a claim
	Pending    bool               // of a look
	Err        error
	// Replies were lost meanwhile, or it was repeated: it may have happened before it was answered.
	Lossy  bool
	Repeat bool // the same operation has been called before
	// Its caller went away once: that sending may be executed even after the answer to a later one.
	Abandoned bool
}

// Latest returns until when the call may have had its effect.
func (c *Call) Latest() int64 {
	if c.Abandoned {
		return Never
	}
	return c.Was
}

// Says returns the words of a Cancel or an End.
func (c *Call) Says() string {
	switch op := c.Op.(type) {
	case backends.Cancel:
		return Wording(op.Outcome, op.Error)
	case backends.End:
		return Wording(op.Outcome, op.Error)
	}
	return ""
}

// Wording is what tells an ending from others.
func Wording(outcome, reason string) string { return outcome + ": " + reason }

type Get struct {
	backends.Terms
	ID string
}

type Look struct {
	backends.Terms
	Mailbox string
}

// Perform makes the call.
func (c *Call) Perform(ctx context.Context, b backends.Backend) {
	switch op := c.Op.(type) {
	case backends.Create:
		c.Rec, c.Err = b.Create(ctx, op)
	case backends.Claim:
		c.Claimed, c.Err = b.Claim(ctx, op)
	case backends.Extend:
		c.Lease, c.Err = b.Extend(ctx, op)
	case backends.Cancel:
		c.Rec, c.Err = b.Cancel(ctx, op)
	case backends.End:
		c.Rec, c.Err = b.End(ctx, op)
	case Get:
		c.Rec, c.Err = b.Get(ctx, op.Store, op.ID)
	case Look:
		c.Pending, c.Err = b.HasPending(ctx, op.Store, op.Mailbox)
	}
}

// Never is when a call returns that was not answered.
const Never = math.MaxInt64

// Answered reports whether the backend decided, for or against.
func (c *Call) Answered() bool { return c.Err == nil || Refusal(c.Err) }

// Refusal tells a decision of the backend from a failure to reach it.
func Refusal(err error) bool {
	for _, r := range []error{backends.ErrNotFound, backends.ErrEnded, backends.ErrStaleClaim,
		backends.ErrBusy, backends.ErrFull} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

func Now() int64 { return time.Now().UnixMicro() }

func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

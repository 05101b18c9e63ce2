package calls

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Call is one operation as its caller saw it. Times are microseconds since the epoch. Caller and
// server use the same clock, because both run on one machine.
type Call struct {
	Op         any                // a backends.Create, Claim, Extend, Cancel or End; Get; Look
	Began, Was int64              // the times of the first try and of the reply
	Rec        backends.Record    // the reply to a create, a get, a cancel or an end
	Lease      backends.Lease     // the reply to an extend
	Claimed    []backends.Claimed // the reply to a claim
	Pending    bool               // the reply to a look
	Err        error

	Lossy     bool // a reply may be lost: an earlier try may have had the effect
	Repeat    bool // the same operation was called before
	Abandoned bool // the caller left a try, which may take effect after the reply to a later try
}

// Latest returns the latest time at which the call may have had its effect.
func (c *Call) Latest() int64 {
	if c.Abandoned {
		return Never
	}
	return c.Was
}

// Says returns the wording of a Cancel or an End.
func (c *Call) Says() string {
	switch op := c.Op.(type) {
	case backends.Cancel:
		return Wording(op.Outcome, op.Error)
	case backends.End:
		return Wording(op.Outcome, op.Error)
	}
	return ""
}

// Wording returns a text that identifies an ending.
func Wording(outcome, reason string) string { return outcome + ": " + reason }

// Get is a call of Get.
type Get struct {
	backends.Terms
	ID string
}

// Look is a call of HasPending.
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

// Never is the time of a reply that does not arrive.
const Never = math.MaxInt64

// Answered reports whether the backend did or refused the operation.
func (c *Call) Answered() bool { return c.Err == nil || Refusal(c.Err) }

// Refusal reports whether an error is a decision of the backend, and not a failure to reach it.
func Refusal(err error) bool {
	for _, r := range []error{backends.ErrNotFound, backends.ErrEnded, backends.ErrStaleClaim,
		backends.ErrBusy, backends.ErrFull} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

// Now returns the current time in microseconds since the epoch.
func Now() int64 { return time.Now().UnixMicro() }

// Micros returns a time in microseconds since the epoch, or 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

package proof_test

import (
	"github.com/pendingq/pendingq/backends"
)

// tally counts what happened on purpose.
type tally struct {
	dead, stalled int
	changes       map[string]int // what Extends and Cancels did
	losses        losses
}

// The names of what Extends and Cancels do.
const (
	progress     = "progress stored"
	released     = "releases"
	reclaimed    = "releases followed by a claim"
	inGrace      = "extends in a grace"
	endedAtOnce  = "cancels at once"
	firstCancel  = "cancels noted"
	secondCancel = "second cancels"
	overruled    = "answers in a grace"
	ranOut       = "graces that ran out"
)

// lacks returns something that has not happened, or "".
func (t tally) lacks() string {
	for _, what := range []string{progress, released, reclaimed, inGrace, endedAtOnce, firstCancel,
		secondCancel, overruled, ranOut} {
		if t.changes[what] == 0 {
			return what
		}
	}
	return ""
}

func (t tally) countAll(h *history) {
	noted := map[string]bool{}
	for _, c := range h.calls {
		if c.err == nil {
			t.count(c, h, noted)
		}
	}
	for id := range noted {
		if final := h.requests[id].final; final.UpdatedAt.Equal(final.LastDeadline) {
			t.changes[ranOut]++
		}
	}
}

// count counts a call that succeeded. Noted are the requests with a cancel that was noted before.
func (t tally) count(c *call, h *history, noted map[string]bool) {
	add := func(what string, is bool) {
		if is {
			t.changes[what]++
		}
	}
	switch op := c.op.(type) {
	case backends.Extend:
		_, more := h.requests[op.ID].claims[op.Attempt+1]
		add(progress, op.Codec != "")
		add(released, op.Release)
		add(reclaimed, op.Release && more)
		add(inGrace, c.lease.CancelledAs != "")
	case backends.Cancel:
		first := c.rec.CancelReason == op.Error
		add(endedAtOnce, c.rec.Ended())
		add(firstCancel, first)
		add(secondCancel, !first && !c.rec.Ended())
		noted[op.ID] = noted[op.ID] || first
	case backends.End:
		add(overruled, noted[op.ID])
	}
}

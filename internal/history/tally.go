package history

import (
	"fmt"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// tally counts the rare events of sessions, to show that they happen often enough.
type tally struct {
	dead, stalled, abandoned int
	changes                  map[string]int // the effects of Extends and Cancels
	losses                   Losses
}

// The names of the effects of Extends and Cancels.
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

// String returns all counts.
func (t tally) String() string {
	return fmt.Sprintf("%d abandoned by their callers; %d workers died, %d reports came late; %v",
		t.abandoned, t.dead, t.stalled, t.changes)
}

// add adds a session that is over.
func (t *tally) add(one tally, h *history) {
	t.dead += one.dead
	t.stalled += one.stalled
	t.abandoned += one.abandoned
	t.losses.add(h.losses)
	t.countAll(h)
}

// lacks returns the name of an effect that has not happened, or "".
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
		if c.Err == nil {
			t.count(c, h, noted)
		}
	}
	for id := range noted {
		if perhapsDerived(h.requests[id].final) {
			t.changes[ranOut]++
		}
	}
}

// count counts a call that succeeded. Noted has the requests with a noted cancel.
func (t tally) count(c *calls.Call, h *history, noted map[string]bool) {
	add := func(what string, is bool) {
		if is {
			t.changes[what]++
		}
	}
	switch op := c.Op.(type) {
	case backends.Extend:
		_, more := h.requests[op.ID].claims[op.Attempt+1]
		add(progress, op.Codec != "")
		add(released, op.Release)
		add(reclaimed, op.Release && more)
		add(inGrace, c.Lease.CancelledAs != "")
	case backends.Cancel:
		first := c.Rec.CancelReason == op.Error
		add(endedAtOnce, c.Rec.Ended())
		add(firstCancel, first)
		add(secondCancel, !first && !c.Rec.Ended())
		noted[op.ID] = noted[op.ID] || first
	case backends.End:
		add(overruled, noted[op.ID])
	}
}

package history

import (
	"slices"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// A backend remembers a claim until the latest deadline that it set. Until then, another call with
// the same id claims nothing more, and returns the requests that still run at their attempt.

// checkMemos compares all replies to claims of the same id.
func (h *history) checkMemos() {
	replies := map[string][]*calls.Call{}
	for _, c := range h.calls {
		if op, isClaim := c.Op.(backends.Claim); isClaim && c.Err == nil {
			replies[op.ID] = append(replies[op.ID], c)
		}
	}
	for _, same := range replies {
		for i, c := range same {
			for _, other := range slices.Concat(same[:i], same[i+1:]) {
				h.checkMemo(c, other)
			}
		}
	}
}

// checkMemo checks that another reply agrees with each request in a reply to a claim.
func (h *history) checkMemo(c, other *calls.Call) {
	op := c.Op.(backends.Claim)
	for i, from := range c.Claimed {
		for _, rec := range from.Records {
			t := op.From[i].Terms
			started := calls.Micros(rec.StartedAt)
			until := started + t.RunningTimeout.Microseconds()
			h.checkNoMore(c, other, t.Store, rec, until)
			runs := until > other.Was && !h.requests[rec.ID].mayHaveChanged(started, other.Was)
			if runs && other.Began > c.Was && !returns(other, t.Store, rec) {
				h.fault("%s still ran at attempt %d, but a repeat of claim %s from %d to %d "+
					"did not return it", rec.ID, rec.Attempt, op.ID, other.Began, other.Was)
			}
		}
	}
}

// checkNoMore checks that a claim took nothing more while it was remembered for a request. The
// stores of a claim may be separate operations, so until its first reply the claim of one store
// says nothing about the others.
func (h *history) checkNoMore(
	c, other *calls.Call, store string, first backends.Record, until int64,
) {
	op := other.Op.(backends.Claim)
	taken := calls.Micros(first.StartedAt)
	for i, from := range other.Claimed {
		for _, rec := range from.Records {
			at := calls.Micros(rec.StartedAt)
			if at > taken && at < until && (op.From[i].Store == store || at > c.Was) {
				h.fault("claim %s took %s at %d and also %s at %d, but it was remembered until %d",
					op.ID, first.ID, taken, rec.ID, at, until)
			}
		}
	}
}

// mayHaveChanged reports whether a call between two times may have changed the request's lease or
// ended the request.
func (r *request) mayHaveChanged(from, to int64) bool {
	return slices.ContainsFunc(slices.Concat(r.ends, r.changes), func(c *calls.Call) bool {
		return c.Began <= to && c.Latest() >= from && (c.Err == nil || c.Lossy)
	})
}

// returns reports whether the reply to a claim has a request at the same attempt.
func returns(c *calls.Call, store string, rec backends.Record) bool {
	i := indexOf(c.Op.(backends.Claim), store)
	return i < 0 || slices.ContainsFunc(c.Claimed[i].Records, func(got backends.Record) bool {
		return got.ID == rec.ID && got.Attempt == rec.Attempt
	})
}

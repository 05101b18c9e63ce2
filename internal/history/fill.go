package history

import (
	"slices"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// A call whose reply was lost may have taken effect. Later records show the effect. This file adds
// steps for such calls.

// fillIn adds the steps that records have shown and no reply has reported.
func (h *history) fillIn(r *request) {
	for e, told := range r.effects {
		switch {
		case told:
		case e.kind == created:
			h.fillInCreate(r, e.at)
		case e.kind == claimed:
			h.fillInClaim(r, e.attempt, e.at)
		case e.kind == ended:
			h.fillInEnd(r, e)
		}
	}
	for attempt, at := range r.claims {
		if at == 0 {
			h.fillInClaim(r, attempt, 0)
		}
	}
	for _, c := range r.unsure {
		r.fillInChange(c)
	}
}

// fillInChange adds a step for each time at which a call may have changed a lease. It adds one more
// step without a time, for a change that no record shows.
func (r *request) fillInChange(c *calls.Call) {
	kind := extended
	if _, cancels := c.Op.(backends.Cancel); cancels {
		kind = noted
	}
	for at := range r.timesOf(c, kind) {
		r.addPerhaps(c.Began, c.Latest(), step{kind: kind, op: c.Op, at: at})
	}
	r.addPerhaps(c.Began, c.Latest(), step{kind: kind, op: c.Op})
}

// timesOf returns the times at which a call may have changed a lease, by the leases that replies
// have shown. It omits the time of a change that another call is known to have made.
func (r *request) timesOf(c *calls.Call, kind kind) map[int64]bool {
	times := map[int64]bool{}
	for l := range r.shown {
		for _, at := range l.mayBeOf(c.Op) {
			if at >= c.Began && at <= c.Latest() {
				times[at] = true
			}
		}
	}
	for _, o := range r.steps {
		if s := o.Input.(step); !s.may && s.kind == kind {
			delete(times, s.at)
		}
	}
	return times
}

// mayBeOf returns the times at which an Extend or a Cancel may have set a lease. A cancel that was
// noted later may have changed the lease again.
func (l lease) mayBeOf(op any) []int64 {
	switch op := op.(type) {
	case backends.Cancel:
		if l.at == 0 || l.noted {
			return []int64{l.at, l.deadline - op.Grace.Microseconds()}
		}
	case backends.Extend:
		lasts := op.RunningTimeout.Microseconds()
		if op.Release {
			lasts = op.After.Microseconds() - 1
		}
		switch {
		case l.attempt != op.Attempt || l.at != 0 && !l.noted && l.at != l.deadline-lasts:
			return nil
		case l.at != 0:
			return []int64{l.at, l.deadline - lasts}
		}
		return []int64{l.deadline - lasts, l.last - lasts - waitsAfter(op)}
	}
	return nil
}

// fillInEnd adds a step for the end of a request. One of several equal calls has ended it.
func (h *history) fillInEnd(r *request, e effect) {
	op, began, was := any(nil), int64(calls.Never), int64(0)
	for _, c := range r.ends {
		if c.Lossy && c.Says() == e.text {
			op, began, was = c.Op, min(began, c.Began), max(was, c.Latest())
		}
	}
	if op == nil {
		h.fault("%s ended at %d with %q, but no call that may have succeeded has this text",
			r.id, e.at, e.text)
		return
	}
	r.addBetween(began, was, step{kind: ended, op: op, at: e.at})
}

func (h *history) fillInCreate(r *request, createdAt int64) {
	for _, c := range r.creates {
		if c.Lossy && c.Began <= createdAt && createdAt <= c.Latest() {
			r.addBetween(c.Began, c.Latest(), step{kind: created, op: c.Op, at: createdAt})
			return
		}
	}
	h.fault("%s was created at %d, but no Create was in flight then", r.id, createdAt)
}

// fillInClaim adds a step for the start of an attempt. A claim whose reply was lost has made it.
func (h *history) fillInClaim(r *request, attempt int, at int64) {
	began, was := h.lostClaims(r, at)
	if began > was {
		h.fault("attempt %d of %s started at %d, but no claim with a lost reply was in flight then",
			attempt, r.id, at)
		return
	}
	r.addBetween(began, was, step{kind: claimed, attempt: attempt, at: at})
}

// lostClaims returns when the first of the claims began whose replies may be lost, and when the
// last was over. If at is not 0, it counts only claims that were in flight at that time.
func (h *history) lostClaims(r *request, at int64) (began, was int64) {
	began = calls.Never
	for _, c := range h.calls {
		op, isClaim := c.Op.(backends.Claim)
		inFlight := at == 0 || c.Began <= at && at <= c.Latest()
		if isClaim && c.Lossy && inFlight && indexOf(op, r.terms.Store) >= 0 {
			began, was = min(began, c.Began), max(was, c.Latest())
		}
	}
	return began, was
}

// indexOf returns the index of a store in a claim, or -1.
func indexOf(c backends.Claim, store string) int {
	return slices.IndexFunc(c.From, func(f backends.From) bool { return f.Store == store })
}

package history

import (
	"cmp"
	"errors"
	"slices"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// These are the promises of a whole mailbox. A claim takes the longest claimable request first and
// skips none. Caps and exclusive stores refuse a request only when they must. To check a queue
// against one model takes too long. So these checks compare the server's times in the records.

// span is a time in which a request can be claimed. Each end may be off by a microsecond.
type span struct {
	from, to int64
	key      int64 // the last deadline: claims take the smallest first
	sure     bool  // false if a change at an unknown time may have moved the span
	of       *request
}

func (s span) at(us int64) bool            { return s.sure && s.from < us && us < s.to }
func (s span) throughout(a, b int64) bool  { return s.sure && s.from < a && b < s.to }
func (s span) maybeWithin(a, b int64) bool { return s.from <= b && s.to >= a }

// spans returns when the request could be claimed.
func (r *request) spans() (spans []span) {
	if r.createdAt == 0 {
		return nil
	}
	attempt, started := 0, r.createdAt
	for was := true; was; started, was = r.claims[attempt] {
		leases := r.leases(attempt, started)
		left, known := r.leaves(attempt)
		if from, doubtful := r.doubts(leases); doubtful {
			spans = append(spans, span{from: from, to: left, of: r})
		} else {
			spans = append(spans, r.between(leases, left, known)...)
		}
		attempt++
	}
	return spans
}

// leases returns the known leases of an attempt, in their order. Attempt 0 waits for the first
// claim. Its lease is over at once.
func (r *request) leases(attempt int, started int64) []lease {
	first := lease{attempt: attempt, at: started, deadline: started, last: started}
	if attempt > 0 {
		first.deadline += r.terms.RunningTimeout.Microseconds()
		first.last = first.deadline
	}
	if attempt < r.terms.MaxAttempts {
		first.last += r.terms.PendingTimeout.Microseconds()
	}
	leases := []lease{first}
	for l := range r.shown {
		if l.attempt == attempt && l.at != 0 && l != first {
			leases = append(leases, l)
		}
	}
	slices.SortFunc(leases, func(a, b lease) int { return cmp.Compare(a.at, b.at) })
	return leases
}

// ends returns when the request becomes claimable after a lease.
func (l lease) ends() int64 { return max(l.at, l.deadline) }

// between returns when the request could be claimed between its leases. It was no longer claimable
// at left.
func (r *request) between(leases []lease, left int64, known bool) (spans []span) {
	for i, l := range leases {
		s := span{from: l.ends(), to: min(left, l.last), key: l.last, sure: known, of: r}
		if i+1 < len(leases) {
			s.to, s.sure = min(leases[i+1].at, l.last), true
		}
		if s.from <= s.to && s.from < l.last { // at least a microsecond
			spans = append(spans, s)
		}
	}
	return spans
}

// doubts reports whether leases may be missing or out of order. Then it returns the earliest time
// at which the request may have been claimable.
func (r *request) doubts(leases []lease) (from int64, doubtful bool) {
	from, doubtful = leases[0].ends(), leases[0].at == 0
	for i, l := range leases[1:] {
		from = min(from, l.ends())
		doubtful = doubtful || l.at == leases[i].at
	}
	attempt := leases[0].attempt
	_, more := r.claims[attempt+1]
	for _, c := range r.unsure {
		e, extends := c.Op.(backends.Extend)
		switch {
		case extends && e.Attempt != attempt || !extends && more: // no attempt follows a note
			continue
		case e.Release:
			from = min(from, c.Began)
		}
		doubtful = true
	}
	return from, doubtful
}

// leaves returns when the next attempt began or the request ended, if that is known.
func (r *request) leaves(attempt int) (at int64, known bool) {
	if at, claimed := r.claims[attempt+1]; claimed {
		if at == 0 {
			return calls.Never, false
		}
		return at, true
	}
	if r.final.Ended() {
		return calls.Micros(r.final.UpdatedAt), true
	}
	return calls.Never, true
}

// store is the part of a mailbox that belongs to one store.
type store struct {
	terms    backends.Terms
	requests []*request
	spans    []span
}

// CheckMailbox checks the promises of a session's mailbox, store by store. After fail-overs it
// checks the promises only for later calls. For each fail-over it checks the loss.
func (h *history) CheckMailbox(stores []backends.Terms) {
	if len(h.fails) > 0 {
		for _, f := range h.fails {
			h.checkLoss(f, h.since(f))
		}
		later := h.since(h.fails[len(h.fails)-1])
		later.CheckMailbox(stores)
		h.faulty = append(h.faulty, later.faulty...)
		return
	}
	for _, terms := range stores {
		s := store{terms: terms}
		for _, r := range h.requests {
			if r.terms.Store == terms.Store {
				s.requests = append(s.requests, r)
				s.spans = append(s.spans, r.spans()...)
			}
		}
		for _, c := range h.calls {
			h.checkCall(s, c)
		}
		if terms.Exclusive {
			h.checkExclusive(s)
		}
	}
}

func (h *history) checkCall(s store, c *calls.Call) {
	switch op := c.Op.(type) {
	case backends.Claim:
		i := indexOf(op, s.terms.Store)
		if i >= 0 && c.Err == nil && !c.Lossy && !c.Repeat {
			h.checkClaim(s, c, op, i)
		}
	case calls.Look:
		if op.Store == s.terms.Store && c.Err == nil {
			h.checkLook(s, c)
		}
	case backends.Create:
		if op.Store == s.terms.Store && s.terms.MaxPending > 0 {
			h.checkCap(s, c)
		}
	}
}

// checkClaim checks that a claim skipped no request that it should have claimed.
func (h *history) checkClaim(s store, c *calls.Call, op backends.Claim, i int) {
	records := c.Claimed[i].Records
	if len(records) > op.From[i].Limit {
		h.fault("a claim with limit %d got %d requests", op.From[i].Limit, len(records))
	}
	at := claimTime(c)
	// If the limit was reached, claimable requests may remain after the last one that was claimed.
	newest := int64(calls.Never)
	if len(records) == op.From[i].Limit {
		newest = s.keyBefore(records[len(records)-1])
	}
	for _, left := range s.spans {
		there := left.at(at)
		if at == 0 {
			there = left.throughout(c.Began, c.Was)
		}
		if there && left.key < newest {
			h.fault("a claim of %s at %d skipped %s, which was claimable from %d to %d; "+
				"it got %d requests, its limit is %d", s.terms.Store, at,
				left.of.id, left.from, left.to, len(records), op.From[i].Limit)
		}
	}
	for i := 1; i < len(records); i++ {
		if after := s.keyBefore(records[i]); after != 0 && after < s.keyBefore(records[i-1]) {
			h.fault("a claim of %s at %d is out of order", s.terms.Store, at)
		}
	}
}

// claimTime returns the server's time of a claim, or 0 if the claim found nothing.
func claimTime(c *calls.Call) (at int64) {
	for _, from := range c.Claimed {
		for _, rec := range from.Records {
			at = calls.Micros(rec.ReadAt)
		}
	}
	return at
}

// keyBefore returns the last deadline that a request had before it was claimed, or 0 if that is
// unknown.
func (s store) keyBefore(rec backends.Record) int64 {
	for _, sp := range s.spans {
		if sp.of.id == rec.ID && sp.sure && sp.to == calls.Micros(rec.StartedAt) {
			return sp.key
		}
	}
	return 0
}

// checkLook checks that HasPending agrees with a claim at that time.
func (h *history) checkLook(s store, c *calls.Call) {
	there, perhaps := false, false
	for _, sp := range s.spans {
		there = there || sp.throughout(c.Began, c.Was)
		perhaps = perhaps || sp.maybeWithin(c.Began, c.Was)
	}
	if !c.Lossy && (c.Pending && !perhaps || !c.Pending && there) {
		h.fault("HasPending of %s between %d and %d returned %v",
			s.terms.Store, c.Began, c.Was, c.Pending)
	}
}

// checkCap checks that a Create fails with ErrFull if the mailbox is full, and only then.
func (h *history) checkCap(s store, c *calls.Call) {
	at, sure, perhaps := calls.Micros(c.Rec.CreatedAt), 1, 0
	for _, sp := range s.spans {
		if sp.at(at) {
			sure++
		}
		if sp.maybeWithin(c.Began, c.Was) {
			perhaps++
		}
	}
	if c.Err == nil && c.Rec.ReadAt.Equal(c.Rec.CreatedAt) && sure > s.terms.MaxPending {
		h.fault("a create at %d made %d pending, MaxPending is %d", at, sure, s.terms.MaxPending)
	}
	if errors.Is(c.Err, backends.ErrFull) && perhaps < s.terms.MaxPending {
		h.fault("ErrFull with %d pending between %d and %d, MaxPending is %d",
			perhaps, c.Began, c.Was, s.terms.MaxPending)
	}
}

// checkExclusive checks that no two requests of an exclusive mailbox were live at once.
func (h *history) checkExclusive(s store) {
	requests := slices.DeleteFunc(slices.Clone(s.requests), func(r *request) bool {
		return r.createdAt == 0
	})
	slices.SortFunc(requests, func(a, b *request) int {
		return cmp.Or(cmp.Compare(a.createdAt, b.createdAt),
			a.final.UpdatedAt.Compare(b.final.UpdatedAt))
	})
	for i := 1; i < len(requests); i++ {
		before, after := requests[i-1], requests[i]
		if !before.final.Ended() || calls.Micros(before.final.UpdatedAt) > after.createdAt {
			h.fault("two live requests at once:\n%s:\n%s%s:\n%s",
				before.id, before.describe(), after.id, after.describe())
		}
	}
}

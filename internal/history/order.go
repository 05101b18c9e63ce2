package history

import (
	"cmp"
	"errors"
	"slices"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// What a mailbox as a whole promises: the longest claimable first, nothing that is there passed
// over, a cap and an exclusive hold that are never too wide and never too narrow. As one model a
// queue takes for ever to check, so this goes by the server's times, which every record carries.

// span is a time in which a request can be claimed. Its ends are doubtful to the microsecond.
type span struct {
	from, to int64
	key      int64 // the last deadline, which claims go by
	sure     bool  // false if a change of unknown time may have moved it
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

// leases returns what is known of the leases of an attempt, in their order. Attempt 0, which waits
// for its first claim, has a lease that is over at once.
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

// ends returns from when on the request can be claimed under a lease.
func (l lease) ends() int64 { return max(l.at, l.deadline) }

// between returns when the request could be claimed between its leases, the last of which was over
// at left.
func (r *request) between(leases []lease, left int64, known bool) (spans []span) {
	for i, l := range leases {
		s := span{from: l.ends(), to: min(left, l.last), key: l.last, sure: known, of: r}
		if i+1 < len(leases) {
			s.to, s.sure = min(leases[i+1].at, l.last), true
		}
		if s.from <= s.to && s.from < l.last { // for a microsecond, at least
			spans = append(spans, s)
		}
	}
	return spans
}

// doubts reports whether these are perhaps not all leases of their attempt, or not in their order.
// Then it returns from when on the request may have been claimable.
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

// leaves returns when the request, last claimed at this attempt, was claimed again or ended, if
// that is known.
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

// store is one store's share of a mailbox.
type store struct {
	terms    backends.Terms
	requests []*request
	spans    []span
}

// CheckMailbox checks the promises of a session's mailbox, store by store. Where a fail-over has
// lost something, they are checked for what came after it, and what was lost is checked instead of
// what came before.
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
		i := slices.IndexFunc(op.From, func(f backends.From) bool { return f.Store == s.terms.Store })
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

// checkClaim checks that a claim left nothing behind that it should have taken.
func (h *history) checkClaim(s store, c *calls.Call, op backends.Claim, i int) {
	records := c.Claimed[i].Records
	if len(records) > op.From[i].Limit {
		h.fault("a claim of %d got %d", op.From[i].Limit, len(records))
	}
	at := claimTime(c)
	// The last deadline of the one that came last, if there could have been more.
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
			h.fault("a claim of %s at %d passed over %s, which was claimable from %d to %d; "+
				"it got %d of %d", s.terms.Store, at,
				left.of.id, left.from, left.to, len(records), op.From[i].Limit)
		}
	}
	for i := 1; i < len(records); i++ {
		if after := s.keyBefore(records[i]); after != 0 && after < s.keyBefore(records[i-1]) {
			h.fault("a claim of %s at %d is out of order", s.terms.Store, at)
		}
	}
}

// claimTime returns when the server made a claim, 0 if it found nothing and so does not tell.
func claimTime(c *calls.Call) (at int64) {
	for _, from := range c.Claimed {
		for _, rec := range from.Records {
			at = calls.Micros(rec.ReadAt)
		}
	}
	return at
}

// keyBefore returns the last deadline that a claimed request had before it was claimed, 0 if it is
// not known.
func (s store) keyBefore(rec backends.Record) int64 {
	for _, sp := range s.spans {
		if sp.of.id == rec.ID && sp.sure && sp.to == calls.Micros(rec.StartedAt) {
			return sp.key
		}
	}
	return 0
}

// checkLook checks that HasPending says what a claim would find.
func (h *history) checkLook(s store, c *calls.Call) {
	there, perhaps := false, false
	for _, sp := range s.spans {
		there = there || sp.throughout(c.Began, c.Was)
		perhaps = perhaps || sp.maybeWithin(c.Began, c.Was)
	}
	if !c.Lossy && (c.Pending && !perhaps || !c.Pending && there) {
		h.fault("HasPending of %s between %d and %d said %v", s.terms.Store, c.Began, c.Was, c.Pending)
	}
}

// checkCap checks that a mailbox was neither filled over its cap nor called full below it.
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
		h.fault("a create at %d made %d pending of at most %d", at, sure, s.terms.MaxPending)
	}
	if errors.Is(c.Err, backends.ErrFull) && perhaps < s.terms.MaxPending {
		h.fault("full with %d of %d between %d and %d", perhaps, s.terms.MaxPending, c.Began, c.Was)
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
			h.fault("two live requests at once:\n%s:\n%s%s:\n%s", before.id, before.describe(), after.id,
				after.describe())
		}
	}
}

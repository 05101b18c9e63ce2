package memory

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// mailbox is one store's part of a mailbox.
type mailbox struct {
	key     mailboxKey
	entries int          // the number of its records, live or ended
	queue   heap[*entry] // claimable requests by last deadline; some may have timed out
	running heap[*entry] // claimed requests by deadline; some leases may have expired
}

// settle moves expired leases to queue and drops timed-out requests. It returns the number of
// claimable requests. It moves a request at most once per attempt and drops it at most once, so the
// cost per request is bounded.
func (m *mailbox) settle(now time.Time) int {
	for len(m.running) > 0 && now.After(m.running[0].at) {
		e := m.running.pop().owner
		m.queue.push(&e.queued, e.rec.LastDeadline, e)
	}
	for len(m.queue) > 0 && now.After(m.queue[0].at) { // mutation: timed-out
		m.queue.pop()
	}
	return len(m.queue)
}

// admits returns the reason to refuse a new request, or nil.
func (m *mailbox) admits(t backends.Terms, now time.Time) error {
	if live := m.live(now); t.Exclusive && live != nil { // mutation: exclusive
		return &backends.BusyError{ID: live.rec.ID}
	}
	if t.MaxPending > 0 && m.settle(now) >= t.MaxPending { // mutation: cap
		return backends.ErrFull
	}
	return nil
}

// live returns a request that is neither ended nor timed out, or nil.
func (m *mailbox) live(now time.Time) *entry {
	switch {
	case m.settle(now) > 0:
		return m.queue[0].owner
	case len(m.running) > 0:
		return m.running[0].owner
	}
	return nil
}

package memory

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// mailbox is one store's share of one mailbox.
type mailbox struct {
	key     mailboxKey
	entries int          // how many records name it
	queue   heap[*entry] // what can be claimed, by last deadline; may have timed out
	running heap[*entry] // what has been claimed, by deadline; leases may have expired
}

// claimable returns how many requests a claim could get now. Afterwards the queue holds just these,
// and the two heaps hold just the live requests. What it moves or drops, it moves or drops once, so
// each request pays for itself.
func (m *mailbox) claimable(now time.Time) int {
	for len(m.running) > 0 && now.After(m.running[0].at) {
		e := m.running.pop().owner
		m.queue.push(&e.queued, e.rec.LastDeadline, e)
	}
	for len(m.queue) > 0 && now.After(m.queue[0].at) { // mutation: timed-out
		m.queue.pop()
	}
	return len(m.queue)
}

// admits says why a new request is refused.
func (m *mailbox) admits(t backends.Terms, now time.Time) error {
	if live := m.live(now); t.Exclusive && live != nil { // mutation: exclusive
		return &backends.BusyError{ID: live.rec.ID}
	}
	if t.MaxPending > 0 && m.claimable(now) >= t.MaxPending { // mutation: cap
		return backends.ErrFull
	}
	return nil
}

// live returns a request that is neither ended nor timed out, or nil.
func (m *mailbox) live(now time.Time) *entry {
	switch {
	case m.claimable(now) > 0:
		return m.queue[0].owner
	case len(m.running) > 0:
		return m.running[0].owner
	}
	return nil
}

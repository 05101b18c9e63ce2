package memory

import (
	"bytes"
	"context"
	"maps"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// entry is a stored request.
type entry struct {
	rec     backends.Record // as stored: At has not been applied
	key     recordKey
	in      *mailbox
	queued  slot[*entry]  // in in.queue or in.running while the request is live
	expiry  slot[expirer] // when the record is removed
	expired *time.Timer   // wakes waiters when the lease expires; nil or stopped on a last attempt
}

// view returns the record for a caller, with copies of the payload and the headers.
func (e *entry) view(now time.Time) backends.Record {
	rec := e.head(now)
	rec.Codec, rec.Payload = e.rec.Codec, bytes.Clone(e.rec.Payload)
	return rec
}

// head returns the view without Codec and Payload.
func (e *entry) head(now time.Time) backends.Record {
	rec := e.rec.At(now)
	rec.Codec, rec.Payload = "", nil      // mutation: bare
	rec.Headers = maps.Clone(rec.Headers) // mutation: headers
	return rec
}

func (e *entry) setPayload(codec string, payload []byte) {
	e.rec.Codec, e.rec.Payload = codec, bytes.Clone(payload)
}

// leave removes the entry from the two heaps of its mailbox, and stops its timer.
func (e *entry) leave() {
	e.in.queue.remove(&e.queued)
	e.in.running.remove(&e.queued)
	if e.expired != nil {
		e.expired.Stop()
	}
}

// expirer is an entry or a memo. When it has expired, its shard calls expire to remove it.
type expirer interface{ expire(*shard) }

func (e *entry) expire(s *shard) {
	delete(s.records, e.key)
	e.leave()
	e.in.entries--
	if e.in.entries == 0 {
		delete(s.mailboxes, e.in.key)
	}
}

// expiredBite is the most expired entries and memos that one operation removes. An operation adds
// at most one entry or one memo, so removing keeps up with adding.
const expiredBite = 8

func (s *shard) dropExpired(now time.Time) {
	for range expiredBite {
		if len(s.expiry) == 0 || !now.After(s.expiry[0].at) {
			return
		}
		s.expiry.pop().owner.expire(s)
	}
}

// find returns the entry, or nil if there is none or its record has expired.
func (s *shard) find(store, id string, now time.Time) *entry {
	e := s.records[recordKey{store, id}]
	if e != nil && now.After(e.expiry.at) {
		s.expiry.remove(&e.expiry)
		e.expire(s)
		return nil
	}
	return e
}

// lockLive locks the shard of a live request, as lock does. After an error the shard is unlocked.
func (b *Backend) lockLive(ctx context.Context, store, id string) (
	s *shard, e *entry, now time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, now, err
	}
	s, now = b.lock(backends.PartitionOf(id))
	if e = s.find(store, id, now); e == nil {
		err = backends.ErrNotFound
	} else if e.rec.At(now).Ended() { // mutation: final
		err = &backends.EndedError{Record: e.view(now)}
	}
	if err != nil {
		s.mu.Unlock()
	}
	return s, e, now, err
}

// mailbox returns the store's mailbox. It makes the mailbox if there is none.
func (s *shard) mailbox(store, name string) *mailbox {
	key := mailboxKey{store, name}
	m := s.mailboxes[key]
	if m == nil {
		m = &mailbox{key: key}
		s.mailboxes[key] = m
	}
	return m
}

// add stores a new request.
func (s *shard) add(m *mailbox, c backends.Create, now time.Time) *entry {
	e := &entry{key: recordKey{c.Store, c.ID}, in: m, rec: c.Record(now)}
	s.records[e.key] = e
	m.entries++
	m.queue.push(&e.queued, e.rec.Deadline, e)
	s.expiry.push(&e.expiry, e.rec.Deadline.Add(c.Retention), e)
	s.claimable.Wake(c.Mailbox)
	return e
}

// claim claims requests from the stores of c. The shard keeps the memo if it has any.
func (s *shard) claim(c backends.Claim, now time.Time) *memo {
	made, until := &memo{id: c.ID}, now
	for _, from := range c.From {
		m := s.mailboxes[mailboxKey{from.Store, c.Mailbox}]
		for range from.Limit {
			if m == nil || m.settle(now) == 0 {
				break
			}
			e := m.queue[0].owner
			s.start(e, from.Terms, now)
			made.taken = append(made.taken, taken{e, e.rec.Attempt})
			if e.rec.Deadline.After(until) {
				until = e.rec.Deadline
			}
		}
	}
	if len(made.taken) > 0 {
		s.memos[c.ID] = made
		s.expiry.push(&made.expiry, until, made)
	}
	return made
}

// start starts the next attempt of a claimable entry.
func (s *shard) start(e *entry, t backends.Terms, now time.Time) {
	e.rec.Status = backends.StatusRunning
	e.rec.Attempt++
	e.rec.StartedAt, e.rec.UpdatedAt = now, now
	s.lease(e, t, t.RunningTimeout, now)
	s.changed.Wake(e.rec.ID)
}

// extend renews the lease of a claimed entry, or releases it.
func (s *shard) extend(e *entry, x backends.Extend, now time.Time) {
	e.rec.UpdatedAt = now
	if x.Codec != "" {
		e.setPayload(x.Codec, x.Payload)
	}
	if x.Codec != "" || x.Release {
		s.changed.Wake(e.rec.ID)
	}
	switch {
	case e.rec.CancelledAs != "": // mutation: grace; the deadlines stay
	case x.Release:
		s.lease(e, x.Terms, x.After-clockStep, now) // mutation: release
	default:
		s.lease(e, x.Terms, x.RunningTimeout, now)
	}
}

const clockStep = time.Microsecond // a lease has expired one step after its deadline

// lease starts a lease of a claimed entry now. It sets both deadlines.
func (s *shard) lease(e *entry, t backends.Terms, lasts time.Duration, now time.Time) {
	deadline := now.Add(lasts)
	if e.rec.Attempt >= t.MaxAttempts {
		s.runUntil(e, deadline, deadline, t.Retention)
		return
	}
	s.runUntil(e, deadline, deadline.Add(t.PendingTimeout), t.Retention)
	mailbox := e.rec.Mailbox
	e.expired = time.AfterFunc(lasts+clockStep, func() { s.claimable.Wake(mailbox) })
}

// note notes a cancel on a running entry.
func (s *shard) note(e *entry, c backends.Cancel, now time.Time) {
	e.rec.CancelledAs, e.rec.CancelReason, e.rec.UpdatedAt = c.Outcome, c.Error, now
	deadline := e.rec.Deadline
	if grace := now.Add(c.Grace); grace.Before(deadline) { // mutation: grace-longer
		deadline = grace
	}
	s.runUntil(e, deadline, deadline, c.Retention) // mutation: no-attempt
	s.changed.Wake(e.rec.ID)
}

// runUntil sets the deadlines of a claimed entry.
func (s *shard) runUntil(e *entry, deadline, last time.Time, retention time.Duration) {
	e.leave()
	e.rec.Deadline, e.rec.LastDeadline = deadline, last
	e.in.running.push(&e.queued, deadline, e)
	s.expiry.move(&e.expiry, last.Add(retention))
}

// end ends a live entry.
func (s *shard) end(e *entry, outcome, reason string, retention time.Duration, now time.Time) {
	e.leave()
	e.rec.Status, e.rec.Error, e.rec.UpdatedAt = outcome, reason, now
	e.rec.CancelledAs, e.rec.CancelReason = "", "" // mutation: note-ends
	s.expiry.move(&e.expiry, now.Add(retention))
	s.changed.Wake(e.rec.ID)
}

package backendtest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
)

func (s *sketch) WatchMailbox(_ context.Context, mailbox string) (<-chan struct{}, func()) {
	if s.has("a watched mailbox gives no signal") {
		return nil, func() {}
	}
	return s.claimable.Watch(mailbox)
}

func (s *sketch) WatchRequest(_ context.Context, id string) (<-chan struct{}, func()) {
	if s.has("a watched request gives no signal") {
		return nil, func() {}
	}
	return s.changed.Watch(id)
}

func (s *sketch) PollInterval() time.Duration { return 0 }

// List lists requests in the order of their ids.
func (s *sketch) List(_ context.Context, store, mailbox, after string, limit int) (
	page backends.Page, err error) {
	now := s.begin("List")
	defer s.mu.Unlock()
	for _, id := range s.ids(func(r *sketched) bool {
		rec := r.rec.At(now)
		return r.key.store == store && r.key.id > after &&
			(rec.Mailbox == mailbox || s.has("a list has other mailboxes")) &&
			(!rec.Ended() || s.has("a list has ended requests")) &&
			(rec.Status != backends.StatusRunning || !s.has("a list misses running requests"))
	}) {
		if len(page.Records) == limit && !s.has("a page has no limit") {
			page.Next = page.Records[limit-1].ID
			break
		}
		page.Records = append(page.Records, s.at(s.requests[requestKey{store, id}], now))
	}
	if s.has("a list has only one page") {
		page.Next = ""
	}
	return page, nil
}

func (s *sketch) Mailboxes(_ context.Context, store, after string, limit int) (
	page backends.MailboxPage, err error) {
	now := s.begin("Mailboxes")
	defer s.mu.Unlock()
	names := map[string]bool{}
	s.ids(func(r *sketched) bool {
		if r.key.store == store && r.rec.Mailbox > after && !r.rec.At(now).Ended() {
			names[r.rec.Mailbox] = true
		}
		return false
	})
	page.Mailboxes = slices.Sorted(maps.Keys(names))
	if len(page.Mailboxes) > limit {
		page.Mailboxes = page.Mailboxes[:limit]
		page.Next = page.Mailboxes[limit-1]
	}
	if s.has("a list of mailboxes has only one page") {
		page.Next = ""
	}
	return page, nil
}

// ids are the sorted ids of the wanted requests.
func (s *sketch) ids(wanted func(*sketched) bool) (ids []string) {
	for key, r := range s.requests {
		if wanted(r) {
			ids = append(ids, key.id)
		}
	}
	slices.Sort(ids)
	return ids
}

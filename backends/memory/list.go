package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pendingq/pendingq/backends"
)

// List implements [backends.Lister]. The oldest request comes first. Each page reads all requests
// of the mailbox.
func (b *Backend) List(
	ctx context.Context, store, mailbox, after string, limit int) (page backends.Page, err error) {
	if err := ctx.Err(); err != nil {
		return page, err
	}
	s, now := b.lock(backends.Partition(mailbox))
	defer s.mu.Unlock()
	m := s.mailboxes[mailboxKey{store, mailbox}]
	if m == nil {
		return page, nil
	}
	m.settle(now) // afterwards the two heaps have only live requests
	micros, id, _ := strings.Cut(after, " ")
	last := position{id: id}
	last.micros, _ = strconv.ParseInt(micros, 10, 64) // 0 for the first page
	next := m.oldest(last, limit+1)
	if len(next) > limit {
		next = next[:limit]
		p := next[limit-1].position()
		page.Next = fmt.Sprintf("%020d %s", p.micros, p.id)
	}
	for _, e := range next {
		page.Records = append(page.Records, e.view(now))
	}
	return page, nil
}

// oldest returns the oldest n live requests behind a position, sorted. It runs while the shard is
// locked, so it neither sorts the others nor formats anything.
func (m *mailbox) oldest(behind position, n int) (found []*entry) {
	byPosition := func(e *entry, p position) int { return e.position().compare(p) }
	for _, live := range []heap[*entry]{m.queue, m.running} {
		for _, s := range live {
			p := s.owner.position()
			i, _ := slices.BinarySearchFunc(found, p, byPosition)
			if i < n && p.compare(behind) > 0 {
				found = slices.Insert(found, i, s.owner)
				found = found[:min(len(found), n)]
			}
		}
	}
	return found
}

// position is where a request comes in a List: by its creation time, then by its id.
type position struct {
	micros int64
	id     string
}

func (e *entry) position() position { return position{e.rec.CreatedAt.UnixMicro(), e.rec.ID} }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.micros, q.micros), cmp.Compare(p.id, q.id))
}

// Mailboxes implements [backends.Lister]. It lists one shard after the other. Each page reads all
// mailboxes of its shard.
func (b *Backend) Mailboxes(
	ctx context.Context, store, after string, limit int) (page backends.MailboxPage, err error) {
	if err := ctx.Err(); err != nil {
		return page, err
	}
	part, name, _ := strings.Cut(after, " ")
	i, _ := strconv.Atoi(part) // 0 for the first page
	if i < 0 || i >= len(b.shards) {
		return page, nil
	}
	s, now := &b.shards[i], b.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, m := range s.mailboxes {
		if key.store == store && key.mailbox > name && m.live(now) != nil {
			page.Mailboxes = append(page.Mailboxes, key.mailbox)
		}
	}
	slices.Sort(page.Mailboxes)
	if len(page.Mailboxes) > limit {
		page.Mailboxes = page.Mailboxes[:limit]
		page.Next = fmt.Sprint(i, " ", page.Mailboxes[limit-1])
	} else if i+1 < len(b.shards) {
		page.Next = fmt.Sprint(i+1, " ")
	}
	return page, nil
}

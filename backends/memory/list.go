package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
	created, _ := strconv.ParseInt(micros, 10, 64) // 0 for the first page
	last := &entry{rec: backends.Record{ID: id, CreatedAt: time.UnixMicro(created)}}
	var live []*entry // not listed yet
	for _, h := range []heap[*entry]{m.queue, m.running} {
		for _, s := range h {
			if s.owner.compareAge(last) > 0 {
				live = append(live, s.owner)
			}
		}
	}
	slices.SortFunc(live, (*entry).compareAge)
	if len(live) > limit {
		live, last = live[:limit], live[limit-1]
		page.Next = fmt.Sprint(last.rec.CreatedAt.UnixMicro(), " ", last.rec.ID)
	}
	for _, e := range live {
		page.Records = append(page.Records, e.view(now))
	}
	return page, nil
}

func (e *entry) compareAge(f *entry) int {
	return cmp.Or(e.rec.CreatedAt.Compare(f.rec.CreatedAt), cmp.Compare(e.rec.ID, f.rec.ID))
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

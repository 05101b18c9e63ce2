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
	var live []*entry
	for _, s := range slices.Concat(m.queue, m.running) {
		if cursor(s.owner) > after {
			live = append(live, s.owner)
		}
	}
	slices.SortFunc(live, func(x, y *entry) int { return cmp.Compare(cursor(x), cursor(y)) })
	if len(live) > limit {
		live = live[:limit]
		page.Next = cursor(live[limit-1])
	}
	for _, e := range live {
		page.Records = append(page.Records, e.view(now))
	}
	return page, nil
}

// cursor is the position of a request in a List: its creation time, then its id.
func cursor(e *entry) string {
	return fmt.Sprintf("%020d %s", e.rec.CreatedAt.UnixMicro(), e.rec.ID)
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

package goredis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
)

var _ backends.Lister = (*Backend)(nil)

// List implements [backends.Lister]. It lists a queue from the highest score down: the waiting
// requests come first, and the running requests last. A Claim or an Extend during the listing moves
// a request down, so it may come twice. A release moves a request up, so it may be missed. A Claim
// also moves up about a hundred other requests with expired leases and attempts left, so these may
// be missed. A page is one script and examines at most limit requests.
func (b *Backend) List(
	ctx context.Context, store, mailbox, after string, limit int) (page backends.Page, err error) {
	highest, last := "+inf", ""
	if after != "" {
		highest, last, _ = strings.Cut(after, " ")
		if score, err := strconv.ParseFloat(highest, 64); err != nil || math.IsNaN(score) {
			return page, check.Invalid("%.40q is not the Next of a page", after)
		}
	}
	k := b.keys(backends.Partition(mailbox), store)
	reply, err := b.run(ctx, b.scripts.list, []string{k.queue(mailbox)},
		k.record(""), highest, last, limit)
	if err != nil {
		return page, err
	}
	words, _ := reply.([]any)
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i], _ = word.(string)
	}
	if len(texts) < 3 || len(texts)%2 == 0 {
		return page, unexpected(reply)
	}
	now, isTime := decodeTime(texts[0])
	if !isTime {
		return page, unexpected(reply)
	}
	if texts[2] != "" {
		page.Next = texts[1] + " " + texts[2]
	}
	records := make([]stored, 0, len(texts)/2)
	for pair := range slices.Chunk(texts[3:], 2) {
		id, damaged := strings.CutPrefix(pair[0], "\n")
		if damaged {
			page.Errs = append(page.Errs, &backends.CorruptError{ID: id, Err: errors.New(pair[1])})
			continue
		}
		rec, err := decodeRecord(id, pair[1])
		if err != nil {
			page.Errs = append(page.Errs, err)
			continue
		}
		records = append(records, rec.at(now))
	}
	return page, b.fill(ctx, store, records, &page)
}

// fill adds records with their payloads to a page. If a payload is missing, fill reads the record
// again, and leaves it out if its request has ended.
func (b *Backend) fill(
	ctx context.Context, store string, records []stored, page *backends.Page) error {
	pointers := make([]*stored, len(records))
	for i := range records {
		pointers[i] = &records[i]
	}
	if _, err := b.fetch(ctx, store, pointers...); err != nil {
		return err
	}
	for _, s := range records {
		rec, err := b.whole(ctx, store, s)
		var corrupt *backends.CorruptError
		switch {
		case errors.As(err, &corrupt):
			page.Errs = append(page.Errs, err)
		case err != nil && !errors.Is(err, backends.ErrNotFound):
			return err
		case err == nil && !rec.Ended():
			page.Records = append(page.Records, rec)
		}
	}
	return nil
}

// scanned is about the number of keys that a page of mailboxes examines.
const scanned = 100

// Mailboxes implements [backends.Lister] with SCAN. The Redis user needs the right to SCAN. A page
// examines about 100 keys, whatever the limit. It may be empty although more follow. A mailbox may
// come twice, and a mailbox with only timed-out requests may come, too.
func (b *Backend) Mailboxes(
	ctx context.Context, store, after string, _ int) (page backends.MailboxPage, err error) {
	servers, err := b.servers(ctx)
	if err != nil {
		return page, err
	}
	addrs := slices.Sorted(maps.Keys(servers))
	addr, position, _ := strings.Cut(after, " ")
	at, found := slices.BinarySearch(addrs, addr) // the next master if this one has gone
	if at == len(addrs) {
		return page, nil
	}
	var cursor uint64
	if found && position != "" {
		if cursor, err = strconv.ParseUint(position, 10, 64); err != nil {
			return page, check.Invalid("%.40q is not the Next of a page", after)
		}
	}
	pattern := escaped.Replace(b.prefix+"{") + "????" + escaped.Replace("}:"+store+"/q/") + "*"
	keys, cursor, err := servers[addrs[at]].ScanType(ctx, cursor, pattern, scanned, "zset").Result()
	if err != nil {
		return page, err
	}
	start := len(b.keys("0000", store).queue(""))
	for _, key := range keys {
		page.Mailboxes = append(page.Mailboxes, key[start:])
	}
	if cursor != 0 {
		page.Next = fmt.Sprint(addrs[at], " ", cursor)
	} else if at+1 < len(addrs) {
		page.Next = addrs[at+1] + " 0"
	}
	return page, nil
}

// escaped escapes a text for the pattern of SCAN.
var escaped = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// servers returns the servers with keys by address: a Cluster's masters, or the only server.
func (b *Backend) servers(ctx context.Context) (map[string]redis.Cmdable, error) {
	cluster := b.wakes.cluster
	if cluster == nil {
		return map[string]redis.Cmdable{"": b.client}, nil
	}
	var mu sync.Mutex
	servers := map[string]redis.Cmdable{}
	err := cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		servers[master.Options().Addr] = master
		return nil
	})
	return servers, err
}

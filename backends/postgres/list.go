package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
)

var _ backends.Lister = (*Backend)(nil)

// now() is the start of the transaction, before the snapshot. A record that changed in between is
// read at the time of its change. The last ORDER BY keeps the planner from scanning the table for
// any row of a busy mailbox.
const (
	listed = `SELECT 'ok', greatest(now(), q.updated), {record} FROM {s}.request q
		WHERE q.mailbox = $1 AND q.store = $2 AND q.live
			AND q.rank >= $3 AND (q.rank, q.id) > ($3, $4)
		ORDER BY q.rank, q.id LIMIT $5::int`

	mailboxes = `WITH RECURSIVE m AS (
		(SELECT q.mailbox FROM {s}.request q WHERE q.live AND q.mailbox > $1
			ORDER BY q.mailbox LIMIT 1)
		UNION ALL
		SELECT (SELECT q.mailbox FROM {s}.request q WHERE q.live AND q.mailbox > m.mailbox
			ORDER BY q.mailbox LIMIT 1)
		FROM m WHERE m.mailbox IS NOT NULL)
		SELECT m.mailbox, (SELECT true FROM {s}.request q
			WHERE q.mailbox = m.mailbox AND q.store = $2 AND q.live
			ORDER BY q.mailbox, q.store, q.rank LIMIT 1) IS NOT NULL
		FROM m WHERE m.mailbox IS NOT NULL LIMIT $3::int`
)

// List implements [backends.Lister]. The request with the earliest deadline at its creation comes
// first. A claim, extension or release of a request with attempts left moves the request down. So
// it may come twice. A page reads up to limit requests and leaves out timed-out ones, so it may be
// shorter than limit although others follow.
func (b *Backend) List(
	ctx context.Context, store, mailbox, after string, limit int) (page backends.Page, err error) {
	from, id, err := parseCursor(after)
	if err != nil {
		return page, err
	}
	rows, err := query(ctx, b.pool, b.call.list, b.args([]byte(mailbox), store, from, id, limit))
	seen := 0
	err = read(rows, err, func(columns [][]byte) error {
		a, err := scanAnswer(columns)
		if err != nil {
			return err
		}
		switch rec, err := a.record(); {
		case err != nil:
			page.Errs = append(page.Errs, err)
		case !rec.Ended():
			page.Records = append(page.Records, rec)
		}
		if seen++; seen == limit {
			page.Next = fmt.Sprint(a.rank.UnixMicro(), " ", a.rec.ID)
		}
		return nil
	})
	if err != nil {
		return backends.Page{}, err
	}
	return page, nil
}

// parseCursor reads the Next of a page of requests.
func parseCursor(after string) (from time.Time, id string, err error) {
	if after == "" {
		return time.UnixMicro(0), "", nil
	}
	number, id, _ := strings.Cut(after, " ")
	us, err := strconv.ParseInt(number, 10, 64)
	if err != nil || us > 1<<60 || us < 0 || backends.CheckID(id) != nil {
		return from, "", check.Invalid("%.40q is not the Next of a page", after)
	}
	return time.UnixMicro(us), id, nil
}

// Mailboxes implements [backends.Lister]. It sorts by name. A page reads up to limit mailboxes of
// all stores, and leaves out mailboxes of other stores. So a page may be empty although others
// follow. A mailbox whose requests have all timed out is listed until the sweep has freed them.
func (b *Backend) Mailboxes(
	ctx context.Context, store, after string, limit int) (page backends.MailboxPage, err error) {
	rows, err := query(ctx, b.pool, b.call.mailboxes, b.args([]byte(after), store, limit))
	if err != nil {
		return page, err
	}
	var name []byte
	var here bool
	seen, err := pgx.ForEachRow(rows, []any{&name, &here}, func() error {
		if here {
			page.Mailboxes = append(page.Mailboxes, string(name))
		}
		return nil
	})
	if seen.RowsAffected() == int64(limit) {
		page.Next = string(name)
	}
	return page, wrap(err)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// listing is the output of ls, in both formats.
type listing struct {
	values any
	rows   [][]string
	more   bool // the server has more rows
	unread bool // the store has more than maxMailboxes
}

// mailbox is a row about a mailbox.
type mailbox struct {
	Name    string    `json:"mailbox"`
	Pending int       `json:"pending"`
	Running int       `json:"running"`
	More    bool      `json:"more"`                       // not all requests were counted
	Oldest  time.Time `json:"oldest_created_at,omitzero"` // among the counted requests
	Error   string    `json:"error,omitempty"`

	age time.Duration
}

const (
	glanceRows   = 100    // requests of a mailbox that are counted
	maxMailboxes = 10_000 // mailboxes that are read to find the oldest requests
	parallel     = 4      // mailboxes that are read at a time
	pageSize     = 1000
)

func list(ctx context.Context, s *storeSession) error {
	l, err := s.listing(ctx)
	switch {
	case err != nil:
		return err
	case s.output == outputJSON:
		err = s.print(l.values)
	default:
		err = s.table(l.rows)
	}
	if l.more {
		s.board.note("there are more than %d rows; raise --limit", s.limit)
	}
	if l.unread {
		s.board.note("the store has more than %d mailboxes; the others were not read", maxMailboxes)
	}
	return err
}

// listing reads mailboxes, or the requests of one mailbox.
func (s *storeSession) listing(ctx context.Context) (*listing, error) {
	if s.limit < 1 {
		return nil, misused("--limit must be at least 1")
	}
	ctx, cancel := s.patience(ctx)
	defer cancel()
	if len(s.words) == 1 {
		l, err := s.requests(ctx, s.words[0])
		return l, s.explained(ctx, "mailbox "+oneLine(s.words[0]), err)
	}
	l, err := s.mailboxes(ctx)
	if errors.Is(err, pending.ErrNotFound) {
		return nil, &hintError{"there is no store " + s.store +
			", or this token may not list all its mailboxes: name a MAILBOX", err}
	}
	return l, s.explained(ctx, "the list of mailboxes", err)
}

// mailboxes reads all mailboxes, up to maxMailboxes. It returns those with more requests than were
// counted, then those with the oldest requests, up to the limit.
func (s *storeSession) mailboxes(ctx context.Context) (*listing, error) {
	names, unread, err := s.names(ctx, maxMailboxes)
	if err != nil {
		return nil, err
	}
	found := make([]mailbox, len(names))
	var work sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, name := range names {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			found[i] = s.glance(ctx, name)
		})
	}
	work.Wait()
	found = slices.DeleteFunc(found, func(m mailbox) bool {
		return m.Pending+m.Running == 0 && !m.More && m.Error == ""
	})
	slices.SortStableFunc(found, func(x, y mailbox) int {
		switch {
		case x.More == y.More:
			return x.Oldest.Compare(y.Oldest)
		case x.More:
			return -1
		}
		return 1
	})
	more := len(found) > s.limit
	found = found[:min(len(found), s.limit)]
	l := &listing{values: found, more: more, unread: unread,
		rows: [][]string{{"MAILBOX", "PENDING", "RUNNING", "OLDEST"}}}
	for _, m := range found {
		l.rows = append(l.rows, m.row())
	}
	return l, ctx.Err()
}

// names reads at most this many names of mailboxes. Pages may be empty and repeat names.
func (s *storeSession) names(
	ctx context.Context, most int) (names []string, more bool, err error) {
	for after := ""; ; {
		page, err := s.Mailboxes(ctx, s.store, after, pageSize)
		if err != nil {
			return nil, false, err
		}
		names = append(names, page.Mailboxes...)
		slices.Sort(names)
		names = slices.Compact(names)
		if len(names) > most {
			return names[:most], true, nil
		}
		if after = page.Next; after == "" || len(names) == most {
			return names, after != "", nil
		}
	}
}

// glance counts requests of a mailbox. The counts are 0 if the token may not see the mailbox.
func (s *storeSession) glance(ctx context.Context, name string) mailbox {
	m := mailbox{Name: name}
	page, err := s.page(ctx, name, glanceRows)
	if err != nil && !errors.Is(err, pending.ErrNotFound) {
		m.Error = err.Error()
	}
	if err == nil && len(page.Errs) > 0 {
		m.Error = fmt.Sprintf("unreadable requests: %d", len(page.Errs))
	}
	m.More = page.Next != ""
	for _, rec := range page.Records {
		if rec.Status == backends.StatusRunning {
			m.Running++
		} else {
			m.Pending++
		}
		if m.Oldest.IsZero() || rec.CreatedAt.Before(m.Oldest) {
			m.age, m.Oldest = rec.ReadAt.Sub(rec.CreatedAt), rec.CreatedAt
		}
	}
	return m
}

// page reads requests of a mailbox up to a limit. The server may return smaller pages if payloads
// may be large.
func (s *storeSession) page(
	ctx context.Context, mailbox string, limit int) (all backends.Page, err error) {
	for {
		missing := limit - len(all.Records)
		some, err := s.List(ctx, s.store, mailbox, all.Next, min(glanceRows, missing))
		if err != nil {
			return all, err
		}
		all.Records, all.Errs = append(all.Records, some.Records...), append(all.Errs, some.Errs...)
		if all.Next = some.Next; all.Next == "" || len(all.Records) >= limit {
			return all, nil
		}
	}
}

func (m mailbox) row() []string {
	plus := ""
	if m.More {
		plus = "+"
	}
	oldest := ""
	if !m.Oldest.IsZero() {
		oldest = human(m.age) + plus
	}
	if m.Error != "" {
		oldest = strings.TrimSpace(oldest + " (" + short(m.Error) + ")")
	}
	return []string{m.Name, fmt.Sprint(m.Pending, plus), fmt.Sprint(m.Running, plus), oldest}
}

// requests reads the live requests of a mailbox up to the limit.
func (s *storeSession) requests(ctx context.Context, mailbox string) (*listing, error) {
	page, err := s.page(ctx, mailbox, s.limit)
	if err != nil {
		return nil, err
	}
	for _, err := range page.Errs {
		s.board.note("%s", oneLine(err.Error()))
	}
	l := &listing{more: page.Next != "",
		rows: [][]string{{"ID", "STATUS", "ATTEMPT", "AGE", "DEADLINE", "PAYLOAD", "CODEC"}}}
	found := page.Records
	slices.SortStableFunc(found, func(x, y backends.Record) int {
		return x.CreatedAt.Compare(y.CreatedAt)
	})
	views := make([]view, len(found))
	for i, rec := range found {
		views[i] = s.view(rec, nil)
		l.rows = append(l.rows, []string{rec.ID, says(rec), fmt.Sprint(rec.Attempt),
			human(rec.ReadAt.Sub(rec.CreatedAt)), "in " + human(rec.Deadline.Sub(rec.ReadAt)),
			fmt.Sprintf("%d B", len(rec.Payload)), rec.Codec})
	}
	l.values = views
	return l, nil
}

// human returns a duration in whole seconds.
func human(d time.Duration) string { return max(0, d).Truncate(time.Second).String() }

// top shows a listing again and again. It fails if it cannot read the first listing.
func top(ctx context.Context, s *storeSession) error {
	if s.interval < 100*time.Millisecond || s.times < 0 {
		return misused("--interval must be at least 100ms, and --times at least 0")
	}
	for n := 1; ; n++ {
		l, err := s.listing(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // users end top with an interrupt
		case err != nil && n == 1:
			return err
		case err != nil:
			s.board.note("%v", err)
		default:
			err = s.draw(l)
			if err != nil || n == s.times {
				return err
			}
		}
		select {
		case <-time.After(s.interval):
		case <-ctx.Done():
			return nil
		}
	}
}

const (
	toTopLeft     = "\x1b[H"
	clearsToRight = "\x1b[K"
	clearsBelow   = "\x1b[J"
)

// draw shows a listing. On a terminal it overwrites the last listing. Elsewhere it appends.
func (s *storeSession) draw(l *listing) error {
	if s.output == outputJSON {
		return s.printLine(l.values)
	}
	title := fmt.Sprintf("%s  %s  %d rows", time.Now().Format(time.TimeOnly),
		oneLine(strings.Join(append([]string{s.store}, s.words...), " / ")), len(l.rows)-1)
	if l.more {
		title += ", and there are more"
	}
	if l.unread {
		title += fmt.Sprintf(", of the first %d mailboxes", maxMailboxes)
	}
	if !s.screen {
		_, err := fmt.Fprintln(s.stdout, title+"\n"+render(l.rows))
		return err
	}
	columns, rows := size(s.stdout)
	if len(s.words) == 0 { // long names of mailboxes leave room for the counts
		for _, row := range l.rows {
			row[0] = cut(oneLine(row[0]), max(12, columns-40))
		}
	}
	text := title + "\n" + render(l.rows)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	lines = lines[:min(len(lines), max(1, rows-1))]
	for i, line := range lines {
		lines[i] = cut(line, columns-1) + clearsToRight
	}
	_, err := fmt.Fprint(s.stdout, toTopLeft, strings.Join(lines, "\r\n"), "\r\n", clearsBelow)
	return err
}

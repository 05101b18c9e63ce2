package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
)

func TestLsShowsMailboxesAndTheRequestsOfOne(t *testing.T) {
	s := newShelf(t, 0)
	s.want(s.call("ls"), exitOK, "MAILBOX  PENDING  RUNNING  OLDEST\n")
	first := s.create("device-2", "?")
	second := s.create("device-1", "?")
	s.create("device-1", "?")
	if _, err := s.store.PopPending(t.Context(), "device-1"); err != nil {
		t.Fatal(err)
	}
	r := s.call("ls")
	s.matches(r, `device-2  1        0        \d+s`, `device-1  1        1        \d+s`)
	if strings.Index(r.stdout, "device-2") > strings.Index(r.stdout, "device-1") {
		t.Errorf("the mailbox with the oldest request is not the first:\n%s", r.stdout)
	}
	s.matches(s.call("ls", "device-1"), second.ID+`  running  1        \d+s`, `in 59m\d+s`, "json")
	rows := decode[[]view](t, s.call("ls", "device-2", "-o", "json").stdout)
	if len(rows) != 1 || rows[0].ID != first.ID || rows[0].Status != "pending" ||
		rows[0].Store != "jobs" {
		t.Errorf("got %+v", rows)
	}
	boxes := decode[[]mailbox](t, s.call("ls", "-o=json").stdout)
	if len(boxes) != 2 || boxes[1].Name != "device-1" || boxes[1].Running != 1 ||
		boxes[1].Pending != 1 {
		t.Errorf("got %+v", boxes)
	}
	s.want(s.call("ls", "--limit", "1"), exitOK, "there are more than 1 rows; raise --limit")
	s.want(s.call("ls", "device-1", "--limit", "1"), exitOK, "there are more than 1")
}

// The limit is for rows. Of all mailboxes with live requests, the oldest come first.
func TestLsFindsTheOldestOfMoreMailboxesThanItShows(t *testing.T) {
	s := newShelf(t, 0)
	s.create("z", "?")
	for i := range 5 {
		s.create(fmt.Sprint("a-", i), "?")
		idle := s.create(fmt.Sprint("idle-", i), "?")
		if err := s.store.Cancel(t.Context(), idle, "?"); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range [][]string{{"ls"}, {"top", "--times", "1"}} {
		r := s.call(append(command, "-o", "json", "--limit", "3")...)
		boxes := decode[[]mailbox](t, r.stdout)
		if len(boxes) != 3 || boxes[0].Name != "z" || boxes[1].Name != "a-0" {
			t.Errorf("%s: got %+v, want z, a-0 and a-1", command[0], boxes)
		}
	}
	s.want(s.call("ls", "--limit", "5"), exitOK, "there are more than 5 rows")
	if r := s.call("ls", "--limit", "6"); strings.Contains(r.stderr, "more than") {
		t.Errorf("with a row for each mailbox: %s", r.stderr)
	}
}

// endless is a backend with ever more mailboxes.
type endless struct{ *memory.Backend }

func (endless) Mailboxes(
	_ context.Context, _, after string, limit int) (backends.MailboxPage, error) {
	page := backends.MailboxPage{Next: after + "x"}
	for i := range limit {
		page.Mailboxes = append(page.Mailboxes, fmt.Sprintf("%04d", i)+after)
	}
	return page, nil
}

func TestLsSaysThatItDidNotReadAllMailboxes(t *testing.T) {
	s := newShelfOver(t, endless{memory.New()}, 0)
	s.create("0007xx", "?")
	s.want(s.call("ls"), exitOK, "0007xx ", "more than 10000 mailboxes")
	var drawn strings.Builder
	session := &storeSession{common: common{surroundings: surroundings{stdout: &drawn}}}
	err := session.draw(&listing{unread: true, rows: [][]string{{"MAILBOX"}, {"0007xx"}}})
	if err != nil || !strings.Contains(drawn.String(), "1 rows, of the first 10000 mailboxes") {
		t.Errorf("top: %v, %s", err, drawn.String())
	}
}

func TestLsCountsNoMoreThanAHundredOfAMailbox(t *testing.T) {
	s := newShelf(t, 0)
	s.create("idle", "?")
	for range glanceRows + 1 {
		s.create("busy", "?")
	}
	s.matches(s.call("ls"), `OLDEST\nbusy     100\+     0\+       \d+s\+\nidle `)
	rows := decode[[]view](t, s.call("ls", "busy", "--limit", "1000", "-o", "json").stdout)
	if len(rows) != glanceRows+1 {
		t.Errorf("got %d requests, want %d", len(rows), glanceRows+1)
	}
}

func TestTopLooksAgainAndAgain(t *testing.T) {
	s := newShelf(t, 0)
	s.create("device-1", "?")
	twice := []string{"top", "--times", "2", "--interval", "100ms"}
	plain := s.call(twice...)
	s.want(plain, exitOK, "jobs  1 rows\nMAILBOX")
	n := strings.Count(plain.stdout, "device-1")
	if n != 2 || strings.Contains(plain.stdout, "\x1b") {
		t.Errorf("%d tables, want 2 without control characters: %q", n, plain.stdout)
	}
	live := s.callIn(t.Context(), true, twice...)
	if n := strings.Count(live.stdout, toTopLeft); live.code != exitOK || n != 2 {
		t.Errorf("exit %d, %d screens: %q", live.code, n, live.stdout)
	}
	lines := strings.Split(strings.TrimSpace(s.call(append(twice, "-o", "json")...).stdout), "\n")
	if boxes := decode[[]mailbox](t, lines[1]); len(lines) != 2 || boxes[0].Name != "device-1" {
		t.Errorf("got %q", lines)
	}
	s.want(s.call("top", "device-1", "--times", "1"), exitOK, "jobs / device-1  1 rows\nID")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.want(s.callIn(ctx, false, "top"), exitOK)
}

func TestAScreenIsNotOverfilled(t *testing.T) {
	s := newShelf(t, 0)
	for i := range 30 {
		s.create(fmt.Sprint("device-", i, strings.Repeat("x", 200)), "?")
	}
	s.want(s.callIn(t.Context(), true, "top", "--times", "1"), exitOK, "PENDING  RUNNING  OLDEST")
	r := s.callIn(t.Context(), true, "top", "--times", "1")
	lines := strings.Split(r.stdout, "\r\n")
	if len(lines) > 24 {
		t.Errorf("%d lines on a screen of 24", len(lines))
	}
	for _, line := range lines[:len(lines)-1] {
		line = strings.TrimSuffix(strings.TrimPrefix(line, toTopLeft), clearsToRight)
		if len(line) > 79 {
			t.Errorf("a line has %d columns", len(line))
		}
	}
}

package goredis_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/pendingq/pendingq/backends"
)

// place is the place of a field in a record's head: the bytes from, counted from 0, to to-1.
type place struct{ from, to int }

// headTable reads the table of a record's head in the comment of record.go. It checks that there
// are no gaps between the fields.
func headTable(t *testing.T) map[string]place {
	t.Helper()
	source, err := os.ReadFile("record.go")
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(source), "//\t        mailbox\n")
	table, end := map[string]place{}, 0
	line := regexp.MustCompile(`(?m)^//\t(\d+)(?:-(\d+))? +(\w+(?: of the mailbox)?)`)
	for _, match := range line.FindAllStringSubmatch(comment, -1) {
		first, _ := strconv.Atoi(match[1])
		last := first
		if match[2] != "" {
			last, _ = strconv.Atoi(match[2])
		}
		if first != end+1 {
			t.Errorf("byte %d of a record is followed by byte %d", end, first)
		}
		table[match[3]], end = place{first - 1, last}, last
	}
	names := []string{"attempt", "created", "deadline", "last", "length of the mailbox", "place",
		"started", "state", "updated", "version"}
	if got := slices.Sorted(maps.Keys(table)); !slices.Equal(got, names) {
		t.Fatalf("the table has the fields %q, want %q", got, names)
	}
	return table
}

// fields are the fields of a record. The fields of the head have their names in the table.
type fields map[string]string

// parts decodes a record by the table.
func parts(table map[string]place, text string) fields {
	f, rest := fields{}, 0
	for name, at := range table {
		f[name] = text[at.from:at.to]
		rest = max(rest, at.to)
	}
	take := func(name, digits string) {
		n, _ := strconv.Atoi(digits)
		f[name] = text[rest : rest+n]
		rest += n
	}
	take("mailbox", f["length of the mailbox"])
	if f["place"] >= "2" {
		rest += 5
		take("headers", text[rest-5:rest])
	}
	if text[1] == 'e' || text[1] == 'c' {
		outcome, reason := text[rest:rest+2], text[rest+2:rest+7]
		rest += 7
		take("outcome", outcome)
		take("error", reason)
	}
	take("codec length", "2")
	take("codec", f["codec length"])
	f["body"] = text[rest:]
	return f
}

// text encodes a record by the table.
func (f fields) text(table map[string]place) string {
	head := bytes.Repeat([]byte("?"), table["attempt"].to)
	for name, at := range table {
		copy(head[at.from:at.to], f[name])
	}
	text := string(head) + f["mailbox"]
	if f["place"] >= "2" {
		text += fmt.Sprintf("%05d%s", len(f["headers"]), f["headers"])
	}
	if f["state"] == "e" || f["state"] == "c" {
		text += fmt.Sprintf("%02d%05d%s%s",
			len(f["outcome"]), len(f["error"]), f["outcome"], f["error"])
	}
	return text + fmt.Sprintf("%02d%s%s", len(f["codec"]), f["codec"], f["body"])
}

func micros(at time.Time) string {
	if at.IsZero() {
		return strings.Repeat("0", 16)
	}
	return fmt.Sprintf("%016d", at.UnixMicro())
}

// story makes the calls for one request, and keeps the record that has to be stored.
type story struct {
	*rig
	terms   backends.Terms
	large   bool
	headers bool
	want    backends.Record // the stored record: At is not applied
	span    time.Duration   // the span of a pending record
}

func (s *story) payload(text string) []byte {
	if s.large {
		return bytes.Repeat([]byte(text), 1000)
	}
	return []byte(text)
}

func (s *story) create() {
	s.Helper()
	c := question(s.terms, "a mailbox/q/{x}\n")
	c.Codec, c.Payload = "codec", s.payload("question")
	if s.headers {
		c.Headers = map[string]string{"trace": "\x00é<"}
	}
	rec, err := s.b.Create(s.Context(), c)
	if err != nil {
		s.Fatalf("Create: %v", err)
	}
	now := time.Now().UTC()
	s.span = s.terms.RunningTimeout
	if s.terms.MaxAttempts > 1 {
		s.span += s.terms.PendingTimeout
	}
	deadline := now.Add(s.terms.PendingTimeout)
	s.want = backends.Record{ID: rec.ID, Mailbox: c.Mailbox, Status: backends.StatusPending,
		Codec: c.Codec, Payload: c.Payload, Headers: c.Headers, CreatedAt: now, UpdatedAt: now,
		Deadline: deadline, LastDeadline: deadline}
	time.Sleep(time.Second + time.Microsecond)
}

// leased sets the wanted times for a lease from now on.
func (s *story) leased() {
	now := time.Now().UTC()
	s.want.UpdatedAt, s.want.Deadline = now, now.Add(s.terms.RunningTimeout)
	s.want.LastDeadline = s.want.Deadline
	if s.want.Attempt < s.terms.MaxAttempts {
		s.want.LastDeadline = s.want.Deadline.Add(s.terms.PendingTimeout)
	}
	time.Sleep(time.Second + time.Microsecond)
}

func (s *story) claimIt() {
	s.Helper()
	if got := s.claim(s.terms, s.want.Mailbox, 10); len(got) != 1 || got[0].ID != s.want.ID {
		s.Fatalf("claimed %v, want %s", got, s.want.ID)
	}
	s.want.Status, s.want.StartedAt = backends.StatusRunning, time.Now().UTC()
	s.want.Attempt++
	s.leased()
}

func (s *story) extendIt() {
	s.Helper()
	s.extend(s.terms, s.want)
	s.leased()
}

// progress extends the lease with another payload, also after a noted cancel.
func (s *story) progress() {
	s.Helper()
	x := backends.Extend{Terms: s.terms, ID: s.want.ID, Attempt: s.want.Attempt,
		StartedAt: s.want.StartedAt, Mailbox: s.want.Mailbox,
		Codec: "progressing", Payload: s.payload("half of it")}
	if _, err := s.b.Extend(s.Context(), x); err != nil {
		s.Fatalf("Extend: %v", err)
	}
	s.want.Codec, s.want.Payload = x.Codec, x.Payload
	if s.want.CancelledAs != "" {
		s.want.UpdatedAt = time.Now().UTC()
		return
	}
	s.leased()
}

// release releases the request with a pause, so it still runs.
func (s *story) release() {
	s.Helper()
	x := backends.Extend{Terms: s.terms, ID: s.want.ID, Attempt: s.want.Attempt,
		StartedAt: s.want.StartedAt, Release: true, After: time.Minute}
	if _, err := s.b.Extend(s.Context(), x); err != nil {
		s.Fatalf("Extend: %v", err)
	}
	lasts := s.terms.RunningTimeout
	s.terms.RunningTimeout = time.Minute - time.Microsecond
	s.leased()
	s.terms.RunningTimeout = lasts
}

// cancel notes a cancel.
func (s *story) cancel() {
	s.Helper()
	c := gaveUp(s.terms, s.want.ID)
	c.Outcome, c.Error, c.Grace = "cancelled", "why\x00", time.Hour
	if _, err := s.b.Cancel(s.Context(), c); err != nil {
		s.Fatalf("Cancel: %v", err)
	}
	now := time.Now().UTC()
	s.want.CancelledAs, s.want.CancelReason = c.Outcome, c.Error
	s.want.UpdatedAt, s.want.Deadline = now, now.Add(c.Grace)
	s.want.LastDeadline = s.want.Deadline
	time.Sleep(time.Second + time.Microsecond)
}

func (s *story) expire() { time.Sleep(time.Until(s.want.Deadline) + 3*time.Microsecond) }

func (s *story) endIt(outcome, reason string, giveUp bool) {
	s.Helper()
	var rec backends.Record
	var err error
	if giveUp {
		c := gaveUp(s.terms, s.want.ID)
		c.Outcome, c.Error = outcome, reason
		rec, err = s.b.Cancel(s.Context(), c)
	} else {
		e := backends.End{Terms: s.terms, ID: s.want.ID, Outcome: outcome, Error: reason,
			Attempt: s.want.Attempt, StartedAt: s.want.StartedAt, Mailbox: s.want.Mailbox,
			Codec: "another", Payload: s.payload("the answer")}
		s.want.Codec, s.want.Payload = e.Codec, e.Payload
		rec, err = s.b.End(s.Context(), e)
	}
	if err != nil {
		s.Fatalf("End or Cancel: %v", err)
	}
	s.want.Status, s.want.Error, s.want.UpdatedAt = outcome, reason, rec.UpdatedAt
	s.want.CancelledAs, s.want.CancelReason = "", ""
	if now := time.Now().UTC(); !rec.UpdatedAt.Equal(now) {
		s.Errorf("ended at %v, want %v", rec.UpdatedAt, now)
	}
	time.Sleep(time.Second + time.Microsecond)
}

// claimed creates and claims the request.
func (s *story) claimed() {
	s.create()
	s.claimIt()
}

func stories() map[string]func(*story) {
	return map[string]func(*story){
		"pending":             (*story).create,
		"claimed":             (*story).claimed,
		"extended":            func(s *story) { s.claimed(); s.extendIt() },
		"ended":               func(s *story) { s.claimed(); s.endIt("done", "", false) },
		"ended with an error": func(s *story) { s.claimed(); s.endIt("x", "y\x00", false) },
		"extended and ended": func(s *story) {
			s.claimed()
			s.extendIt()
			s.endIt("x", "", false)
		},
		"progress":     func(s *story) { s.claimed(); s.progress() },
		"released":     func(s *story) { s.claimed(); s.release() },
		"cancel noted": func(s *story) { s.claimed(); s.cancel() },
		"progress after a cancel": func(s *story) {
			s.claimed()
			s.progress()
			s.cancel()
			s.progress()
		},
		"ended after a cancel": func(s *story) {
			s.claimed()
			s.cancel()
			s.endIt("done", "", false)
		},
		"given up after a cancel": func(s *story) {
			s.claimed()
			s.cancel()
			s.endIt("x", "y", true)
		},
		"overruled":           func(s *story) { s.claimed(); s.cancel(); s.expire() },
		"ended unclaimed":     func(s *story) { s.create(); s.endIt("done", "", false) },
		"given up":            func(s *story) { s.claimed(); s.endIt("x", "y", true) },
		"given up unclaimed":  func(s *story) { s.create(); s.endIt("x", "y", true) },
		"expired":             func(s *story) { s.claimed(); s.expire() },
		"timed out unclaimed": func(s *story) { s.create(); s.expire() },
		"claimed again":       (*story).again,
	}
}

// again claims a request a second and a third time if it has attempts left, and ends it.
func (s *story) again() {
	s.claimed()
	if s.terms.MaxAttempts == 1 {
		return
	}
	s.expire()
	s.claimIt()
	s.expire()
	s.claimIt()
	s.endIt("completed", "", false)
}

// The scripts write records, and Go reads them. Both must agree with the table in record.go.
func TestScriptsAndGoAgreeOnRecords(t *testing.T) {
	parallel(t)
	table := headTable(t)
	for name, live := range stories() {
		for _, attempts := range []int{1, 3} {
			for i := range 4 {
				large, headers := i%2 == 1, i >= 2
				name := fmt.Sprintf("%s, attempts %d, large %v, headers %v",
					name, attempts, large, headers)
				t.Run(name, func(t *testing.T) {
					onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
						s := &story{rig: r, terms: lasting("s"), large: large, headers: headers}
						s.terms.RunningTimeout, s.terms.MaxAttempts = 5*time.Hour, attempts
						live(s)
						s.checkStored(table, mini)
						s.checkRead()
					})
				})
			}
		}
	}
}

// checkStored compares the stored record with the wanted one, field by field.
func (s *story) checkStored(table map[string]place, mini *miniredis.Miniredis) {
	s.Helper()
	partition := s.prefix + "{" + backends.Partition(s.want.Mailbox) + "}:s"
	text, err := mini.Get(partition + "/r/" + s.want.ID)
	if err != nil {
		s.Fatal(err)
	}
	got, w := parts(table, text), s.want
	want := fields{"version": "1", "state": "p", "deadline": micros(w.Deadline),
		"created": micros(w.CreatedAt), "place": "0", "last": micros(w.LastDeadline),
		"length of the mailbox": fmt.Sprintf("%03d", len(w.Mailbox)), "mailbox": w.Mailbox,
		"updated": micros(w.UpdatedAt), "started": micros(w.StartedAt),
		"attempt":      fmt.Sprintf("%04d", w.Attempt),
		"codec length": fmt.Sprintf("%02d", len(w.Codec)), "codec": w.Codec}
	switch {
	case w.Status == backends.StatusPending:
		want["last"] = fmt.Sprintf("%016d", s.span.Microseconds())
		want["updated"] = micros(time.Time{})
	case w.CancelledAs != "":
		want["state"], want["outcome"], want["error"] = "c", w.CancelledAs, w.CancelReason
	case w.Status == backends.StatusRunning:
		want["state"] = "r"
	default:
		want["state"], want["outcome"], want["error"] = "e", w.Status, w.Error
	}
	want["body"] = string(w.Payload)
	if s.headers {
		want["place"], want["headers"] = "2", "00050004trace\x00é<"
	}
	if s.large {
		want["place"], want["body"] = string(want["place"][0]+1), got["body"]
		if payload, _ := mini.Get(partition + "/p/" + got["body"]); payload != string(w.Payload) {
			s.Errorf("the payload %q has %d bytes, want %d",
				got["body"], len(payload), len(w.Payload))
		}
	}
	for name := range want {
		if got[name] != want[name] {
			s.Errorf("%s: the record has %q, want %q", name, got[name], want[name])
		}
	}
	if got.text(table) != text {
		s.Errorf("the record is\n%q, but its fields give\n%q", text, got.text(table))
	}
}

// checkRead compares the result of Get with the wanted record.
func (s *story) checkRead() {
	s.Helper()
	got, want := s.get("s", s.want.ID), s.want.At(time.Now().UTC())
	if !bytes.Equal(got.Payload, want.Payload) {
		s.Errorf("Get: got a payload of %d bytes, want %d", len(got.Payload), len(want.Payload))
	}
	got.Payload, want.Payload = nil, nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.Errorf("Get: got\n%v, want\n%v", got, want)
	}
}

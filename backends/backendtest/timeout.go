package backendtest

import (
	"errors"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

var timeoutCases = []testCase{
	{"an unclaimed request times out at its deadline",
		"The front end learns that no worker came, at a time on which all nodes agree.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout = w.short
			made := w.created(t)
			got := w.untilStatus("s", made.ID, backends.StatusTimeout)
			w.checkTimedOut(got)
			checkSame(w, got, timedOut(made, got.Error))
			w.checkReason(got, "no worker claimed", w.short.String())
			checkSame(w, w.get("s", made.ID), got)
		}},

	{"a request is live until its deadline, that microsecond included",
		"All nodes must agree on the last moment of a request.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout = w.short
			for range 5 {
				made := w.created(t)
				calls.Pass(made.Deadline.Sub(made.ReadAt)) // exact only in a bubble
				got := w.get("s", made.ID)
				if got.Ended() {
					w.checkTimedOut(got)
					continue
				}
				checkSame(w, got, made)
				if !got.ReadAt.After(got.Deadline) {
					w.pop(t, 1)
				}
			}
		}},

	{"a silent worker's request times out at its deadline",
		"The front end learns that the worker has died.",
		func(w *world) {
			t := terms("s")
			t.RunningTimeout = w.short
			running := w.running(t)
			got := w.untilStatus("s", running.ID, backends.StatusTimeout)
			w.checkTimedOut(got)
			checkSame(w, got, timedOut(running, got.Error))
			w.checkReason(got, "attempt 1", w.short.String())
		}},

	{"an extended request lives on, and so does its record",
		"A long import must not time out or disappear while its worker extends it.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.RunningTimeout, brief.Retention = w.short, time.Millisecond
			for _, size := range []int{10, 100_000} {
				c := request(t, box)
				c.Payload = make([]byte, size)
				w.create(c)
				running := w.popInTime(brief, w.clock().Add(w.short+brief.Retention))
				w.extendInTime(t, running.ID, running.Deadline)
				w.pass(2 * w.short)
				got := w.get("s", running.ID)
				checkPayload(w, got, running)
				want := running
				want.UpdatedAt = got.UpdatedAt
				want.Deadline = got.UpdatedAt.Add(long)
				want.LastDeadline = want.Deadline
				checkHead(w, withoutPayload(got), want)
				w.end(completion(t, got))
			}
		}},

	{"an extension may shorten the lease",
		"The deadline is always now plus the timeout, so callers can predict it.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.RunningTimeout = w.short
			running := w.running(t)
			w.extend(brief, running.ID)
			got := w.untilStatus("s", running.ID, backends.StatusTimeout)
			w.checkReason(got, "attempt 1", w.short.String())
		}},

	{"only the running claim can be extended",
		"A worker that lost its claim must not get it back.",
		func(w *world) {
			t := terms("s")
			made := w.created(t)
			w.wantExtendError(extension(t, made.ID, 0), backends.ErrStaleClaim)
			w.wantExtendError(extension(t, made.ID, 1), backends.ErrStaleClaim)
			w.popOne(t)
			w.wantExtendError(extension(t, made.ID, 0), backends.ErrStaleClaim)
			w.wantExtendError(extension(t, made.ID, 2), backends.ErrStaleClaim)
			w.wantExtendError(extension(t, backends.NewID(box), 1), backends.ErrNotFound)
		}},

	{"a timed-out request stays readable, then disappears",
		"Readers must see the timeout, but storage must not keep records for ever.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout, t.Retention = w.short, w.short
			made := w.created(t)
			w.untilGone("s", made.ID, made.LastDeadline.Add(t.Retention))
		}},

	{"an ended request stays readable, then disappears",
		"The front end gets time to read the outcome. Then storage frees the record.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.Retention = w.short
			made := w.created(t)
			at := w.end(completion(brief, made)).UpdatedAt
			w.untilGone("s", made.ID, at.Add(brief.Retention))
			c := request(t, box)
			c.ID = made.ID
			checkNew(w, c, w.create(c))
		}},

	{"an ended record lives by the terms of its end, however short its lease was",
		"A record that keeps the expiry of its lease takes its answer along.",
		func(w *world) {
			t, brief := terms("s"), w.retried(1)
			brief.PendingTimeout, brief.Retention = w.short, time.Millisecond
			for _, size := range []int{10, 100_000} {
				for _, end := range []func(backends.Record) error{
					func(rec backends.Record) error {
						_, err := w.b.Cancel(w.Context(), giveUp(t, rec))
						return err
					},
					func(rec backends.Record) error {
						e := completion(t, rec)
						e.Mailbox, e.Codec, e.Payload = box, rec.Codec, rec.Payload
						_, err := w.b.End(w.Context(), e)
						return err
					},
				} {
					c := request(brief, box)
					c.Payload = make([]byte, size)
					running := w.popInTime(brief, w.create(c).Deadline)
					if err := end(running); err != nil {
						w.late(running.LastDeadline)
						w.Fatal(err)
					}
					w.pass(3 * w.short)
					checkPayload(w, w.get("s", running.ID), running)
				}
			}
		}},

	{"a record lives as long as its claim may run",
		"A record that expires by its first deadline disappears while its worker runs.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout, t.Retention = w.short, time.Millisecond
			made := w.created(t)
			running := w.popInTime(t, made.Deadline)
			w.pass(3 * w.short)
			w.end(completion(terms("s"), w.get("s", running.ID)))
		}},
}

// timedOut returns the record as it reads after a timeout at its deadline.
func timedOut(rec backends.Record, reason string) backends.Record {
	rec.Status, rec.UpdatedAt, rec.Error = backends.StatusTimeout, rec.Deadline, reason
	return rec
}

// checkReason checks that a record's error has these parts.
func (w *world) checkReason(rec backends.Record, parts ...string) {
	w.Helper()
	for _, part := range parts {
		if !strings.Contains(rec.Error, part) {
			w.Errorf("got the error %q, want one with %q", rec.Error, part)
		}
	}
}

// untilGone waits until a record has disappeared. The record must not disappear before earliest.
func (w *world) untilGone(store, id string, earliest time.Time) {
	w.Helper()
	w.until("the record has gone", func() bool {
		before := w.clock()
		_, err := w.b.Get(w.Context(), store, id)
		w.allow(err, backends.ErrNotFound)
		gone := errors.Is(err, backends.ErrNotFound)
		if gone && w.clock().Before(earliest) {
			w.Fatalf("the record disappeared at %v, want it readable until %v", before, earliest)
		}
		return gone
	})
}

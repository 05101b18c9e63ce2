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
		"The front end learns that nobody came, at a time that every node agrees on.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout = w.short
			made := w.created(t)
			got := w.untilStatus("s", made.ID, backends.StatusTimeout)
			w.checkTimedOut(got)
			want := made
			want.Status, want.UpdatedAt, want.Error = backends.StatusTimeout, made.Deadline, got.Error
			checkSame(w, got, want)
			w.checkReason(got, "no worker claimed", w.short.String())
			checkSame(w, w.get("s", made.ID), got)
		}},

	{"a request is live until its deadline, that microsecond included",
		"All nodes must agree on when the last moment is.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout = w.short
			for range 5 {
				made := w.created(t)
				calls.Pass(made.Deadline.Sub(made.ReadAt)) // exact where the clock is the caller's
				got := w.get("s", made.ID)
				if got.Ended() {
					w.checkTimedOut(got)
				} else if !got.ReadAt.After(got.Deadline) {
					w.pop(t, 1)
				}
			}
		}},

	{"a silent worker's request times out at its deadline",
		"The front end learns that the machine died with it.",
		func(w *world) {
			t := terms("s")
			t.RunningTimeout = w.short
			w.created(t)
			running := w.popOne(t)
			got := w.untilStatus("s", running.ID, backends.StatusTimeout)
			w.checkTimedOut(got)
			want := running
			want.Status, want.UpdatedAt, want.Error = backends.StatusTimeout, running.Deadline, got.Error
			checkSame(w, got, want)
			w.checkReason(got, "attempt 1", w.short.String())
		}},

	{"an extended request lives on, and so does its record",
		"A long import must not time out under a worker that says it is still there, nor vanish.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.RunningTimeout, brief.Retention = w.short, time.Millisecond
			for _, size := range []int{10, 100_000} {
				c := request(t, box)
				c.Payload = make([]byte, size)
				w.create(c)
				running := w.popOne(brief)
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

	{"an extension may also be the shorter one",
		"The deadline is now plus the timeout, nothing else, so that it can be told in advance.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.RunningTimeout = w.short
			w.created(t)
			running := w.popOne(t)
			w.extend(brief, running.ID)
			got := w.untilStatus("s", running.ID, backends.StatusTimeout)
			w.checkReason(got, "attempt 1", w.short.String())
		}},

	{"extend is for the running claim alone",
		"A worker that lost its claim has to learn it, not revive it.",
		func(w *world) {
			t := terms("s")
			made := w.created(t)
			extend := func(id string, attempt int) backends.Extend {
				return backends.Extend{Terms: t, ID: id, Attempt: attempt}
			}
			w.wantExtendError(extend(made.ID, 0), backends.ErrStaleClaim)
			w.wantExtendError(extend(made.ID, 1), backends.ErrStaleClaim)
			w.popOne(t)
			w.wantExtendError(extend(made.ID, 0), backends.ErrStaleClaim)
			w.wantExtendError(extend(made.ID, 2), backends.ErrStaleClaim)
			w.wantExtendError(extend(backends.NewID(box), 1), backends.ErrNotFound)
		}},

	{"a timed-out request stays readable, then goes",
		"It must not vanish before it could be read as ended, nor stay for ever.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout, t.Retention = w.short, w.short
			made := w.created(t)
			w.untilGone("s", made.ID, made.LastDeadline.Add(t.Retention))
		}},

	{"an ended request stays readable, then goes",
		"Storage frees itself, but the front end gets its time to read.",
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

	{"a claim keeps the record for as long as the claim may run",
		"A record that expires by its first deadline is lost under the worker.",
		func(w *world) {
			t := terms("s")
			t.PendingTimeout, t.Retention = w.short, time.Millisecond
			made := w.created(t)
			running := w.popInTime(t, made.Deadline)
			w.pass(3 * w.short)
			w.end(completion(terms("s"), w.get("s", running.ID)))
		}},
}

// checkReason checks that an error text tells a person what happened.
func (w *world) checkReason(rec backends.Record, parts ...string) {
	w.Helper()
	for _, part := range parts {
		if !strings.Contains(rec.Error, part) {
			w.Errorf("error %q does not say %q", rec.Error, part)
		}
	}
}

// untilGone waits until a record is not found, and checks that it was there until then.
func (w *world) untilGone(store, id string, earliest time.Time) {
	w.Helper()
	w.until("the record has gone", func() bool {
		before := w.clock()
		_, err := w.b.Get(w.Context(), store, id)
		w.allow(err, backends.ErrNotFound)
		gone := errors.Is(err, backends.ErrNotFound)
		if gone && w.clock().Before(earliest) {
			w.Fatalf("gone at %v, want it readable until %v", before, earliest)
		}
		return gone
	})
}

package backendtest

import (
	"errors"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
)

const (
	tenYears = 10 * 365 * 24 * time.Hour // the longest time

	// wrapping is a little less. In milliseconds and in microseconds its low 32 bits are 0.
	wrapping = 73 << 32 * time.Millisecond
)

// extremeCases are about the largest arguments.
var extremeCases = []testCase{
	{"each time may be ten years",
		"A time that is kept in 32 bits becomes a short one.",
		func(w *world) {
			for _, lasts := range []time.Duration{wrapping, tenYears} {
				t := withAttempts(2)
				t.PendingTimeout, t.RunningTimeout, t.Retention = lasts, lasts, lasts
				c := request(t, box)
				checkNew(w, c, w.create(c))
				want := w.popOne(t)
				check := func(updated time.Time, lasts, then time.Duration) {
					w.Helper()
					want.UpdatedAt, want.Deadline = updated, updated.Add(lasts)
					want.LastDeadline = want.Deadline.Add(then)
					checkSame(w, w.get("s", c.ID), want)
				}
				check(want.StartedAt, lasts, lasts)
				check(w.release(t, want, lasts).UpdatedAt, lasts-time.Microsecond, lasts)
				w.checkUnclaimable(t, "the request, before its time,")
				check(w.renew(extension(t, c.ID, 1)).UpdatedAt, lasts, lasts)

				t.RunningTimeout = tenYears
				w.renew(extension(t, c.ID, 1))
				w.pass(0)
				cancel := cancelled(t, want, wrapping)
				want.CancelledAs, want.CancelReason = cancel.Outcome, cancel.Error
				check(w.cancel(cancel).UpdatedAt, wrapping, 0)
				ended := w.end(completion(t, want))
				w.pass(0)
				checkHead(w, ended, w.get("s", c.ID))
			}
		}},

	{"attempts are counted past a hundred",
		"A count that is stored as digits must be read as it was written.",
		func(w *world) {
			t := withAttempts(9_999)
			made := w.created(t)
			for attempt := 1; attempt <= 101; attempt++ {
				got := w.popOne(t)
				if got.ID != made.ID || got.Attempt != attempt {
					w.Fatalf("got %s, want attempt %d", show(got), attempt)
				}
				w.release(t, got, 0)
			}
			w.end(completion(t, w.popOne(t)))
		}},

	{"the names of stores, codecs and outcomes may have their full length",
		"Names that are cut short make two stores one, and leave a payload without its codec.",
		func(w *world) {
			name := strings.Repeat("s", 63)
			t, other := terms(name+"a"), terms(name+"b")
			c := request(t, box)
			c.Codec = strings.Repeat("c", 32)
			w.create(c)
			_, err := w.b.Get(w.Context(), other.Store, c.ID)
			if !errors.Is(err, backends.ErrNotFound) || w.pending(other.Store, box) {
				w.Errorf("%s has the request of %s: %v", other.Store, t.Store, err)
			}
			running := w.popOne(t)
			checkPayload(w, running, backends.Record{Codec: c.Codec, Payload: c.Payload})
			cancel := cancelled(t, running, long)
			cancel.Outcome = strings.Repeat("o", 32)
			if got := w.cancel(cancel).CancelledAs; got != cancel.Outcome {
				w.Errorf("noted as %q, want %q", got, cancel.Outcome)
			}
			e := completion(t, running)
			e.Codec, e.Outcome = c.Codec, cancel.Outcome
			w.end(e)
			got := w.get(t.Store, c.ID)
			checkPayload(w, got, backends.Record{Codec: e.Codec, Payload: e.Payload})
			if got.Status != e.Outcome {
				w.Errorf("ended as %q, want %q", got.Status, e.Outcome)
			}
		}},
}

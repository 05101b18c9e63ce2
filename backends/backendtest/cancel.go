package backendtest

import (
	"errors"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// cancelled returns the Cancel of a request, with a grace for a running worker.
func cancelled(t backends.Terms, rec backends.Record, grace time.Duration) backends.Cancel {
	return backends.Cancel{Terms: t, ID: rec.ID, Mailbox: rec.Mailbox,
		Outcome: backends.StatusCancelled, Error: "the user has closed the page \x00", Grace: grace}
}

var cancelCases = []testCase{
	{"a cancel without a grace ends a request in every state and keeps its payload",
		"The requester does not know the running attempt, and has no answer to store.",
		func(w *world) {
			t := w.retried(2)
			for state, prepare := range map[string]func() backends.Record{
				"pending": func() backends.Record { return w.created(t) },
				"running": func() backends.Record {
					w.created(t)
					return w.popOne(terms("s"))
				},
				"expired": func() backends.Record {
					w.created(t)
					return w.untilStatus("s", w.popOne(t).ID, backends.StatusPending)
				},
			} {
				rec := prepare()
				c := cancelled(t, rec, 0)
				before := w.later()
				got := w.cancel(c)
				w.checkNow(state+", UpdatedAt", got.UpdatedAt, before)
				want := rec
				want.Status, want.Error, want.UpdatedAt = c.Outcome, c.Error, got.UpdatedAt
				want.Deadline, want.LastDeadline = got.Deadline, got.LastDeadline
				checkHead(w, got, want)
				checkSame(w, w.get("s", rec.ID), want)
				w.checkUnclaimable(t, state+": the cancelled request")
				w.checkFinal(t, rec.ID, rec.Attempt)
			}
		}},

	{"a request that does not run ends at once, also with a grace",
		"No worker is there to use the grace.",
		func(w *world) {
			t := w.retried(2)
			check := func(when string, rec backends.Record) {
				w.Helper()
				before := w.later()
				got := w.cancel(cancelled(t, rec, long))
				if got.Status != backends.StatusCancelled {
					w.Errorf("%s: got %s", when, show(got))
				}
				w.checkNow(when+", UpdatedAt", got.UpdatedAt, before)
			}
			check("pending", w.created(t))
			w.created(t)
			check("expired", w.untilStatus("s", w.popOne(t).ID, backends.StatusPending))
			w.checkUnclaimable(t, "a cancelled request")
		}},

	{"a cancel with a grace is noted, and the worker's result wins",
		"A worker that is nearly done may finish. Its next Extend returns the cancel.",
		func(w *world) {
			t := withAttempts(2)
			for _, payload := range []string{"", "as far as it got"} {
				running := w.running(t)
				c := cancelled(t, running, long/2)
				before := w.later()
				noted := w.cancel(c)
				w.checkNow("UpdatedAt", noted.UpdatedAt, before)
				want := running
				want.CancelledAs, want.CancelReason = c.Outcome, c.Error
				want.UpdatedAt = noted.UpdatedAt
				want.Deadline = noted.UpdatedAt.Add(c.Grace)
				want.LastDeadline = want.Deadline
				checkHead(w, noted, want)
				checkSame(w, w.get("s", running.ID), want)

				x := backends.Extend{Terms: t, ID: running.ID, Attempt: 1, Mailbox: box}
				if payload != "" {
					x.Codec, x.Payload = "other", []byte(payload)
					want.Codec, want.Payload = x.Codec, x.Payload
				}
				lease := w.renew(x)
				if lease.CancelledAs != c.Outcome || lease.CancelReason != c.Error ||
					!lease.Deadline.Equal(want.Deadline) {
					w.Errorf("got the lease %+v, want one with the cancel, until %v",
						lease, want.Deadline)
				}
				want.UpdatedAt = lease.UpdatedAt
				checkSame(w, w.get("s", running.ID), want)

				e := completion(t, running)
				want.Status, want.Codec, want.Payload = e.Outcome, e.Codec, e.Payload
				want.CancelledAs, want.CancelReason = "", ""
				ended := w.end(e)
				want.UpdatedAt = ended.UpdatedAt
				checkHead(w, ended, want)
				checkSame(w, w.get("s", running.ID), want)
				w.checkFinal(t, running.ID, 1)
			}
		}},

	{"when the grace is over the request reads as the outcome, and no attempt follows",
		"A worker that ignores the cancel must not hold up its requester for ever.",
		func(w *world) {
			t := exclusive()
			t.MaxAttempts = 3
			w.created(t)
			p := poll(box, t)
			running := w.claim(p)[0][0]
			c := cancelled(t, running, w.short)
			c.Outcome = "withdrawn"
			noted := w.cancel(c)
			got := w.untilStatus("s", running.ID, c.Outcome)
			w.checkTimedOut(got)
			want := running
			want.Status, want.Error = c.Outcome, c.Error
			want.Deadline, want.LastDeadline = noted.Deadline, noted.Deadline
			want.UpdatedAt = noted.Deadline
			checkSame(w, got, want)
			w.checkUnclaimable(t, "the cancelled request")
			if got := w.claim(p)[0]; len(got) != 0 {
				w.Errorf("the repeated claim got %v", ids(got))
			}
			w.checkFinal(t, running.ID, 1)
			w.created(t) // the mailbox is no longer busy
		}},

	{"a grace never makes a lease longer",
		"A silent worker loses its lease as it would without a cancel.",
		func(w *world) {
			t := withAttempts(2)
			running := w.running(t)
			noted := w.cancel(cancelled(t, running, 2*long))
			if !noted.Deadline.Equal(running.Deadline) {
				w.Errorf("got the deadline %v, want the unchanged %v",
					noted.Deadline, running.Deadline)
			}
			if !noted.LastDeadline.Equal(noted.Deadline) {
				w.Errorf("got the last deadline %v, want the deadline %v, since no attempt follows",
					noted.LastDeadline, noted.Deadline)
			}
		}},

	{"a second cancel with a grace changes nothing",
		"A repeat must not move the deadline or replace the first reason.",
		func(w *world) {
			t := terms("s")
			running := w.running(t)
			first := w.cancel(cancelled(t, running, long/2))
			stored := w.get("s", running.ID)
			w.pass(0)
			for _, grace := range []time.Duration{long / 4, long / 2, 2 * long} {
				second := cancelled(t, running, grace)
				second.Outcome, second.Error = "other", "another reason"
				checkSame(w, w.cancel(second), first)
				checkSame(w, w.get("s", running.ID), stored)
			}
		}},

	{"a cancel without a grace overrules a noted one",
		"A requester that gives up for good does not wait for the grace.",
		func(w *world) {
			t := terms("s")
			running := w.running(t)
			w.cancel(cancelled(t, running, long/2))
			got := w.cancel(giveUp(t, running))
			want := running
			want.Status, want.Error = backends.StatusTimeout, "gave up"
			want.Deadline, want.LastDeadline = got.Deadline, got.LastDeadline
			want.UpdatedAt = got.UpdatedAt
			checkHead(w, got, want)
			w.checkFinal(t, running.ID, 1)
		}},

	{"a noted cancel keeps the mailbox busy and the claim remembered",
		"The work still runs. A worker that lost the reply of its claim learns of the cancel.",
		func(w *world) {
			t := terms("s")
			t.Exclusive = true
			w.created(t)
			c := poll(box, t)
			running := w.claim(c)[0][0]
			w.cancel(cancelled(t, running, long/2))
			w.wantBusy(t, running.ID)
			again := w.claim(c)[0]
			if len(again) != 1 || again[0].CancelledAs != backends.StatusCancelled {
				w.Errorf("the repeated claim got %v", again)
			}
		}},

	{"a large payload outlives a noted cancel",
		"An engine may store large payloads separately, with their own time to live.",
		func(w *world) {
			t := terms("s")
			c := request(t, box)
			c.Payload = make([]byte, 100_000)
			w.create(c)
			running := w.popOne(t)
			w.cancel(cancelled(t, running, w.short))
			got := w.untilStatus("s", c.ID, backends.StatusCancelled)
			if len(got.Payload) != len(c.Payload) {
				w.Errorf("got %d bytes, want the question", len(got.Payload))
			}
		}},

	{"cancelling an unknown request is not found",
		"A web page with a cancel button may stay open for days.",
		func(w *world) {
			t := terms("s")
			c := cancelled(t, backends.Record{ID: backends.NewID(box)}, 0)
			if _, err := w.b.Cancel(w.Context(), c); !errors.Is(err, backends.ErrNotFound) {
				w.Errorf("got %v, want ErrNotFound", err)
			}
			c.ID, c.Store = w.created(t).ID, "other"
			if _, err := w.b.Cancel(w.Context(), c); !errors.Is(err, backends.ErrNotFound) {
				w.Errorf("in another store: got %v, want ErrNotFound", err)
			}
		}},

	{"a cancelled record outlives its deadline by Retention",
		"Its requester must be able to read the outcome.",
		func(w *world) {
			t := terms("s")
			t.Retention = w.short
			made := w.created(t)
			w.popOne(t)
			noted := w.cancel(cancelled(t, made, w.short))
			w.untilGone("s", made.ID, noted.Deadline.Add(t.Retention))
		}},

	{"a request that a cancel ended stays readable, then disappears",
		"How long its record lives follows from its end, not from the deadline that it had.",
		func(w *world) {
			t := terms("s")
			t.Retention = w.short
			for _, rec := range []backends.Record{w.running(terms("s")), w.created(terms("s"))} {
				ended := w.cancel(cancelled(t, rec, 0))
				w.untilGone("s", rec.ID, ended.UpdatedAt.Add(t.Retention))
			}
		}},

	{"a cancel and an end at once: one wins",
		"The requester and the worker may call different nodes at the same instant.",
		func(w *world) {
			t := terms("s")
			for range 20 {
				running := w.running(t)
				w.checkOneWins(running.ID, 32, func(i int) (string, error) {
					if i%2 == 0 {
						_, err := w.b.Cancel(w.Context(), cancelled(t, running, 0))
						return backends.StatusCancelled, err
					}
					_, err := w.b.End(w.Context(), completion(t, running))
					return backends.StatusCompleted, err
				})
			}
		}},
}

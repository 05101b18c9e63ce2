package backendtest

import (
	"bytes"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// extension returns the Extend of the lease of an attempt.
func extension(t backends.Terms, id string, attempt int) backends.Extend {
	return backends.Extend{Terms: t, ID: id, Attempt: attempt}
}

// renew makes an Extend. The call must succeed.
func (w *world) renew(x backends.Extend) backends.Lease {
	w.Helper()
	lease, err := w.b.Extend(w.Context(), x)
	if err != nil {
		w.Fatalf("Extend: %v", err)
	}
	return lease
}

// release releases a running request.
func (w *world) release(t backends.Terms, rec backends.Record, after time.Duration) backends.Lease {
	w.Helper()
	return w.renew(backends.Extend{Terms: t, ID: rec.ID, Attempt: rec.Attempt,
		StartedAt: rec.StartedAt, Mailbox: rec.Mailbox, Release: true, After: after})
}

// extendCases are about the effects of an Extend: the lease, a stored payload, a release.
var extendCases = []testCase{
	{"an extension returns the new lease",
		"The worker extends again before the deadline in it.",
		func(w *world) {
			t := withAttempts(2)
			running := w.running(t)
			w.pass(0)
			t.RunningTimeout = 2 * long
			lease := w.renew(extension(t, running.ID, 1))
			want := running
			want.UpdatedAt = lease.UpdatedAt
			want.Deadline = lease.UpdatedAt.Add(2 * long)
			want.LastDeadline = want.Deadline.Add(long)
			checkSame(w, w.get("s", running.ID), want)
			if !lease.Deadline.Equal(want.Deadline) || !lease.UpdatedAt.After(running.UpdatedAt) ||
				lease.CancelledAs != "" || lease.CancelReason != "" {
				w.Errorf("got %+v, want the deadline %v and no cancel", lease, want.Deadline)
			}
		}},

	{"progress of any size is stored with the lease, and the next attempt gets it",
		"The requester sees partial answers, and the next worker continues from a checkpoint.",
		func(w *world) {
			t := w.retried(2)
			for _, size := range []int{0, 1, 4 << 10, 5 << 10, 100_000} {
				w.created(t)
				running := w.popOne(terms("s")) // by these terms no attempt follows
				lasting := t
				lasting.RunningTimeout = long
				x := backends.Extend{Terms: lasting, ID: running.ID, Attempt: 1, Mailbox: box,
					Codec: "other", Payload: bytes.Repeat([]byte{0, 0xff, '1'}, size/3+1)[:size]}
				for _, change := range []byte{1, 2} {
					x.Payload = append(bytes.Clone(x.Payload), change)
					lease := w.renew(x)
					want := running
					want.Codec, want.Payload, want.UpdatedAt = x.Codec, x.Payload, lease.UpdatedAt
					want.Deadline = lease.UpdatedAt.Add(long)
					want.LastDeadline = want.Deadline.Add(t.PendingTimeout)
					checkSame(w, w.get("s", running.ID), want)
				}
				w.release(t, running, 0)
				next := w.popOne(terms("s"))
				if next.ID != running.ID {
					w.Fatalf("claimed %s, want %s", next.ID, running.ID)
				}
				checkPayload(w, next, backends.Record{Codec: x.Codec, Payload: x.Payload})
				w.end(completion(t, next))
			}
		}},

	{"an extension stores a payload only with a codec",
		"A heartbeat must not erase the question, and progress may be empty.",
		func(w *world) {
			t := terms("s")
			running := w.running(t)
			x := backends.Extend{Terms: t, ID: running.ID, Attempt: 1, Payload: []byte("ignored")}
			want := running
			want.UpdatedAt = w.renew(x).UpdatedAt
			want.Deadline = want.UpdatedAt.Add(long)
			want.LastDeadline = want.Deadline
			checkSame(w, w.get("s", running.ID), want)
			x.Codec, x.Payload = "other", nil
			want.UpdatedAt = w.renew(x).UpdatedAt
			want.Deadline = want.UpdatedAt.Add(long)
			want.LastDeadline = want.Deadline
			want.Codec, want.Payload = x.Codec, nil
			checkSame(w, w.get("s", running.ID), want)
		}},

	{"the terms of an extension decide whether another attempt follows",
		"During a rollout a node with fewer attempts may extend a claim of another node.",
		func(w *world) {
			t, fewer := terms("s"), terms("s")
			t.MaxAttempts = 2
			running := w.running(t)
			for _, tc := range []struct {
				terms backends.Terms
				more  time.Duration
			}{{fewer, 0}, {t, long}, {fewer, 0}} {
				lease := w.renew(backends.Extend{Terms: tc.terms, ID: running.ID, Attempt: 1})
				got, want := w.get("s", running.ID).LastDeadline, lease.Deadline.Add(tc.more)
				if !got.Equal(want) {
					w.Errorf("MaxAttempts %d: got the last deadline %v, want %v",
						tc.terms.MaxAttempts, got, want)
				}
			}
		}},

	{"refused progress is not stored",
		"The late progress of an old worker must not overwrite that of the new one.",
		func(w *world) {
			t := w.retried(2)
			for _, size := range []int{10, 100_000} {
				made := w.created(t)
				x := backends.Extend{Terms: t, ID: made.ID, Attempt: 1, Mailbox: box,
					Codec: "other", Payload: make([]byte, size)}
				w.wantExtendError(x, backends.ErrStaleClaim)
				checkSame(w, w.get("s", made.ID), made)
				w.popOne(t)
				wrong := x
				wrong.Attempt, wrong.Release = 2, size > 10
				w.wantExtendError(wrong, backends.ErrStaleClaim)
				expired := w.untilStatus("s", made.ID, backends.StatusPending)
				checkPayload(w, expired, made)
				w.wantExtendError(x, backends.ErrStaleClaim)
				checkSame(w, w.get("s", made.ID), expired)
				two := w.popOne(terms("s"))
				w.wantExtendError(x, backends.ErrStaleClaim)
				checkSame(w, w.get("s", made.ID), two)
				w.end(completion(t, two))
				ended := w.get("s", made.ID)
				w.wantExtendError(x, backends.ErrEnded)
				checkSame(w, w.get("s", made.ID), ended)
			}
		}},

	{"a released request can be claimed at once, with its next attempt",
		"A worker that shuts down hands back its unfinished requests.",
		func(w *world) {
			t := withAttempts(2)
			running := w.running(t)
			before := w.later()
			lease := w.release(t, running, 0)
			w.checkNow("UpdatedAt", lease.UpdatedAt, before)
			if want := lease.UpdatedAt.Add(-time.Microsecond); !lease.Deadline.Equal(want) {
				w.Errorf("got the deadline %v, want %v", lease.Deadline, want)
			}
			released := w.get("s", running.ID)
			want := running
			want.Status, want.UpdatedAt = backends.StatusPending, lease.Deadline
			want.Deadline = lease.Deadline.Add(long)
			want.LastDeadline = want.Deadline
			checkSame(w, released, want)
			if !w.pending("s", box) {
				w.Error("HasPending does not see the released request")
			}
			two := w.popOne(t)
			if two.ID != running.ID || two.Attempt != 2 {
				w.Errorf("got %s", show(two))
			}
			w.wantEndError(completion(t, running), backends.ErrStaleClaim)
		}},

	{"a request that is released with a pause can be claimed only after the pause",
		"A pause between attempts gives a service time to recover.",
		func(w *world) {
			t := withAttempts(2)
			running := w.running(t)
			lease := w.release(t, running, long)
			w.checkUnclaimable(t, "the request, before its time,")
			if want := lease.UpdatedAt.Add(long - time.Microsecond); !lease.Deadline.Equal(want) {
				w.Errorf("got the deadline %v, want %v", lease.Deadline, want)
			}
			lease = w.release(t, running, w.short)
			w.untilStatus("s", running.ID, backends.StatusPending)
			if got := w.popOne(t); got.Attempt != 2 || !got.UpdatedAt.After(lease.Deadline) {
				w.Errorf("got %s", show(got))
			}
		}},

	{"a lease that has expired may be released",
		"The reply to the first release may have been lost.",
		func(w *world) {
			t := withAttempts(2)
			running := w.running(t)
			w.release(t, running, 0)
			w.pass(0)
			lease := w.release(t, running, 0)
			want := running
			want.Status, want.UpdatedAt = backends.StatusPending, lease.Deadline
			want.Deadline = lease.Deadline.Add(long)
			want.LastDeadline = want.Deadline
			checkSame(w, w.get("s", running.ID), want)
			if got := w.popOne(t); got.ID != running.ID || got.Attempt != 2 {
				w.Errorf("got %s", show(got))
			}
			w.wantExtendError(backends.Extend{Terms: t, ID: running.ID, Attempt: 1, Release: true},
				backends.ErrStaleClaim)
		}},

	{"a release may store progress",
		"The next worker must not repeat work that was done before a shutdown.",
		func(w *world) {
			t := withAttempts(2)
			for _, size := range []int{10, 100_000} {
				w.created(t)
				x := backends.Extend{Terms: t, ID: w.popOne(t).ID, Attempt: 1, Mailbox: box,
					Codec: "other", Payload: make([]byte, size), Release: true}
				w.renew(x)
				got := w.popOne(t)
				if got.ID != x.ID {
					w.Fatalf("claimed %s, want %s", got.ID, x.ID)
				}
				checkPayload(w, got, backends.Record{Codec: x.Codec, Payload: x.Payload})
				w.end(completion(t, got))
			}
		}},

	{"a release needs the attempt that is stored",
		"A late worker must not take a request away from its current worker.",
		func(w *world) {
			t := withAttempts(3)
			made := w.created(t)
			x := backends.Extend{Terms: t, ID: made.ID, Release: true}
			check := func(attempts ...int) {
				w.Helper()
				for _, attempt := range attempts {
					x.Attempt = attempt
					w.wantExtendError(x, backends.ErrStaleClaim)
				}
			}
			check(0, 1)
			running := w.popOne(t)
			check(0, 2)
			checkSame(w, w.get("s", made.ID), running)
			x.ID = backends.NewID(box)
			w.wantExtendError(x, backends.ErrNotFound)
		}},

	{"a released request keeps its record and its payload until it is claimed again",
		"A pause may be longer than the record's time to live.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			t.MaxAttempts, brief.MaxAttempts = 2, 2
			t.Retention, brief.Retention = time.Millisecond, time.Millisecond
			brief.RunningTimeout, brief.PendingTimeout = w.short, w.short
			for _, size := range []int{10, 100_000} {
				c := request(t, box)
				c.Payload = make([]byte, size)
				made := w.create(c)
				running := w.popInTime(brief, made.CreatedAt.Add(2*w.short))
				x := extension(t, c.ID, 1)
				x.Release, x.After = true, 3*w.short
				if _, err := w.b.Extend(w.Context(), x); err != nil {
					w.late(running.LastDeadline)
					w.Fatalf("Extend: %v", err)
				}
				w.untilStatus("s", c.ID, backends.StatusPending)
				w.pass(w.short)
				got := w.popOne(terms("s"))
				if got.ID != c.ID || len(got.Payload) != size {
					w.Errorf("got %s with %d bytes, want %s with %d",
						got.ID, len(got.Payload), c.ID, size)
				}
				w.end(completion(t, got))
			}
		}},

	{"a release without another attempt is a timeout",
		"Nobody would ever claim the request again.",
		func(w *world) {
			t := terms("s")
			running := w.running(t)
			w.release(t, running, 0)
			got := w.get("s", running.ID)
			if got.Status != backends.StatusTimeout || w.pending("s", box) {
				w.Errorf("got %s", show(got))
			}
			w.checkReason(got, "attempt 1 was released")
		}},

	{"a release does not change a noted cancel",
		"No further attempt follows a cancel.",
		func(w *world) {
			t := withAttempts(2)
			running := w.running(t)
			noted := w.cancel(cancelled(t, running, long/2))
			lease := w.release(t, running, 0)
			if !lease.Deadline.Equal(noted.Deadline) || lease.CancelledAs != noted.CancelledAs {
				w.Errorf("got %+v, want the noted cancel and its deadline %v",
					lease, noted.Deadline)
			}
			w.checkUnclaimable(t, "the request")
		}},

	{"a release wakes the watchers of its mailbox",
		"Without a signal, another worker finds the request only at its next poll.",
		func(w *world) {
			waker := w.waker()
			t := withAttempts(2)
			running := w.running(t)
			signal, stop := waker.WatchMailbox(w.Context(), box)
			defer stop()
			w.release(t, running, 0)
			w.untilWoken(signal)
		}},

	{"progress, a noted cancel and a release wake the watchers of their request",
		"The requester watches the progress. The worker watches for a cancel.",
		func(w *world) {
			waker := w.waker()
			t := terms("s")
			running := w.running(t)
			signal, stop := waker.WatchRequest(w.Context(), running.ID)
			defer stop()
			for _, size := range []int{10, 100_000} {
				w.renew(backends.Extend{Terms: t, ID: running.ID, Attempt: 1, Mailbox: box,
					Codec: "raw", Payload: make([]byte, size)})
				w.untilWoken(signal)
			}
			w.cancel(cancelled(t, running, long/2))
			w.untilWoken(signal)
			w.release(t, running, long)
			w.untilWoken(signal)
		}},
}

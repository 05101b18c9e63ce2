package backendtest

import (
	"bytes"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// renew extends a lease that has to be there.
func (w *world) renew(x backends.Extend) backends.Lease {
	w.Helper()
	lease, err := w.b.Extend(w.Context(), x)
	if err != nil {
		w.Fatalf("Extend: %v", err)
	}
	return lease
}

// release hands a record back.
func (w *world) release(t backends.Terms, rec backends.Record, after time.Duration) backends.Lease {
	w.Helper()
	return w.renew(backends.Extend{Terms: t, ID: rec.ID, Attempt: rec.Attempt, Mailbox: rec.Mailbox,
		Release: true, After: after})
}

// extendCases are about what else an Extend can do: tell of the lease, store a payload, release.
var extendCases = []testCase{
	{"an extension tells the new lease",
		"The worker knows from it when to extend again.",
		func(w *world) {
			t := terms("s")
			t.MaxAttempts = 2
			w.created(t)
			running := w.popOne(t)
			w.pass(0)
			t.RunningTimeout = 2 * long
			lease := w.renew(backends.Extend{Terms: t, ID: running.ID, Attempt: 1})
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
		"It is an answer in parts for the requester, and a checkpoint for the next worker.",
		func(w *world) {
			t := w.retried(2)
			for _, size := range []int{0, 1, 4 << 10, 5 << 10, 100_000} {
				w.created(t)
				running := w.popOne(terms("s")) // no attempt would follow
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
				if next.ID != running.ID || next.Codec != x.Codec || !bytes.Equal(next.Payload, x.Payload) {
					w.Errorf("%d bytes: the next attempt got %d bytes", len(x.Payload), len(next.Payload))
				}
				w.end(completion(t, next))
			}
		}},

	{"progress that is refused is not stored",
		"The late progress of an old worker must not overwrite that of the new one.",
		func(w *world) {
			t := w.retried(2)
			for _, size := range []int{10, 100_000} {
				made := w.created(t)
				x := backends.Extend{Terms: t, ID: made.ID, Attempt: 1, Mailbox: box,
					Codec: "other", Payload: make([]byte, size)}
				w.wantExtendError(x, backends.ErrStaleClaim)
				w.popOne(t)
				expired := w.untilStatus("s", made.ID, backends.StatusPending)
				w.wantExtendError(x, backends.ErrStaleClaim)
				checkSame(w, w.get("s", made.ID), expired)
				two := w.popOne(terms("s"))
				w.wantExtendError(x, backends.ErrStaleClaim)
				checkSame(w, w.get("s", made.ID), two)
				w.end(completion(t, two))
				w.wantExtendError(x, backends.ErrEnded)
			}
		}},

	{"a released request can be claimed at once, with its next attempt",
		"A worker that shuts down hands back what it has not done.",
		func(w *world) {
			t := terms("s")
			t.MaxAttempts = 2
			w.created(t)
			running := w.popOne(t)
			lease := w.release(t, running, 0)
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

	{"a request that is released for later can be claimed then, not before",
		"A pause between attempts gives a service time to recover.",
		func(w *world) {
			t := terms("s")
			t.MaxAttempts = 2
			w.created(t)
			running := w.popOne(t)
			lease := w.release(t, running, long)
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("the request can be claimed before its time")
			}
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
			t := terms("s")
			t.MaxAttempts = 2
			w.created(t)
			running := w.popOne(t)
			w.release(t, running, 0)
			w.release(t, running, 0)
			if got := w.popOne(t); got.ID != running.ID || got.Attempt != 2 {
				w.Errorf("got %s", show(got))
			}
			w.wantExtendError(backends.Extend{Terms: t, ID: running.ID, Attempt: 1, Release: true},
				backends.ErrStaleClaim)
		}},

	{"a release without another attempt is a timeout",
		"Nobody would ever claim the request again.",
		func(w *world) {
			t := terms("s")
			w.created(t)
			running := w.popOne(t)
			w.release(t, running, 0)
			got := w.get("s", running.ID)
			if got.Status != backends.StatusTimeout || w.pending("s", box) {
				w.Errorf("got %s", show(got))
			}
		}},

	{"a release leaves a noted cancel alone",
		"No further attempt follows a cancel.",
		func(w *world) {
			t := terms("s")
			t.MaxAttempts = 2
			w.created(t)
			running := w.popOne(t)
			noted := w.cancel(cancelled(t, running, long/2))
			lease := w.release(t, running, 0)
			if !lease.Deadline.Equal(noted.Deadline) || lease.CancelledAs != noted.CancelledAs {
				w.Errorf("got %+v, want the noted cancel and its deadline %v", lease, noted.Deadline)
			}
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("the request can be claimed")
			}
		}},

	{"a release wakes the watchers of its mailbox",
		"Another worker must not find it only at its next poll.",
		func(w *world) {
			waker := w.waker()
			t := terms("s")
			t.MaxAttempts = 2
			w.created(t)
			running := w.popOne(t)
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
			w.created(t)
			running := w.popOne(t)
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

package backendtest

import (
	"errors"
	"slices"

	"github.com/pendingq/pendingq/backends"
)

// retried are the terms of a store whose requests are handed out n times, each time briefly.
func (w *world) retried(n int) backends.Terms {
	t := terms("s")
	t.MaxAttempts, t.RunningTimeout = n, w.short
	return t
}

var attemptCases = []testCase{
	{"when a lease expires the request reads as pending and can be claimed again",
		"The work of a machine that died goes to one that lives.",
		func(w *world) {
			t := w.retried(2)
			w.created(t)
			one := w.popOne(t)
			if want := one.Deadline.Add(long); !one.LastDeadline.Equal(want) {
				w.Errorf("LastDeadline %v, want %v", one.LastDeadline, want)
			}
			expired := w.untilStatus("s", one.ID, backends.StatusPending)
			want := one
			want.Status, want.UpdatedAt = backends.StatusPending, one.Deadline
			want.Deadline = one.LastDeadline
			checkSame(w, expired, want)
			if !w.pending("s", box) {
				w.Error("HasPending does not see the request")
			}
			two := w.popOne(t)
			want = one
			want.Attempt, want.StartedAt, want.UpdatedAt = 2, two.ReadAt, two.ReadAt
			want.Deadline = two.ReadAt.Add(t.RunningTimeout)
			want.LastDeadline = want.Deadline
			checkSame(w, two, want)
			w.checkNow("StartedAt", two.StartedAt, expired.ReadAt)
		}},

	{"a running claim with attempts left is nobody else's",
		"A second attempt beside a live first one does the work twice.",
		func(w *world) {
			t := terms("s")
			t.MaxAttempts = 3
			w.created(t)
			w.popOne(t)
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("a running request can be claimed")
			}
		}},

	{"attempts are counted past ten",
		"A count that is stored as digits must be read as it was written.",
		func(w *world) {
			t := w.retried(12)
			made := w.created(t)
			for attempt := 1; attempt <= 12; attempt++ {
				if got := w.popOne(t); got.Attempt != attempt {
					w.Fatalf("attempt %d, want %d", got.Attempt, attempt)
				}
				if attempt < 12 {
					w.untilStatus("s", made.ID, backends.StatusPending)
				}
			}
		}},

	{"after the last attempt an expired lease is a timeout",
		"A request that kills every worker must end.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			two := w.popOne(t)
			got := w.untilStatus("s", made.ID, backends.StatusTimeout)
			if got.Attempt != 2 || !got.UpdatedAt.Equal(two.Deadline) {
				w.Errorf("got %s", show(got))
			}
			w.checkReason(got, "attempt 2", w.short.String())
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("the timed-out request can be claimed")
			}
		}},

	{"an expired request that nobody claims again times out at its last deadline",
		"Another attempt is a second chance, not eternal life.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			t.PendingTimeout = w.short
			one := w.popOne(t)
			got := w.untilStatus("s", made.ID, backends.StatusTimeout)
			if !got.UpdatedAt.Equal(one.LastDeadline) || !got.Deadline.Equal(one.LastDeadline) {
				w.Errorf("got %s, want its end at %v", show(got), one.LastDeadline)
			}
			w.checkReason(got, "attempt 1", "again within", t.PendingTimeout.String())
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("the timed-out request can be claimed")
			}
			w.checkFinal(terms("s"), made.ID, 1)
		}},

	{"after its lease has expired a worker may end the request until another one claims it",
		"Its work is done; doing it again would be waste.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			one := w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			w.end(completion(t, one))
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("the ended request can be claimed")
			}
		}},

	{"once it is claimed again the old worker's report is stale",
		"Two workers must not both believe that their result stands.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			one := w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			t.RunningTimeout = long
			two := w.popOne(t)
			w.wantEndError(completion(t, one), backends.ErrStaleClaim)
			w.wantExtendError(backends.Extend{Terms: t, ID: made.ID, Attempt: 1}, backends.ErrStaleClaim)
			checkSame(w, w.get("s", made.ID), two)
			w.end(completion(t, two))
		}},

	{"an expired lease cannot be extended",
		"Another worker may be about to get it.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			w.popOne(t)
			expired := w.untilStatus("s", made.ID, backends.StatusPending)
			w.wantExtendError(backends.Extend{Terms: t, ID: made.ID, Attempt: 1}, backends.ErrStaleClaim)
			checkSame(w, w.get("s", made.ID), expired)
		}},

	{"an extended lease expires at its new deadline, not before",
		"The place in the queue has to move with the deadline.",
		func(w *world) {
			t := terms("s")
			t.MaxAttempts = 2
			brief := t
			brief.RunningTimeout = w.short
			made := w.created(t)
			running := w.popOne(brief)
			w.extendInTime(t, made.ID, running.Deadline)
			w.pass(2 * w.short)
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Fatal("the extended request can be claimed")
			}
			w.extend(brief, made.ID)
			w.untilStatus("s", made.ID, backends.StatusPending)
			if got := w.popOne(t); got.ID != made.ID || got.Attempt != 2 {
				w.Errorf("got %s", show(got))
			}
		}},

	{"a policy with fewer attempts takes none away",
		"Nodes of two versions share a store. HasPending must promise only what a claim gets.",
		func(w *world) {
			t, fewer := w.retried(3), terms("s")
			made := w.created(t)
			w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			if !w.pending("s", box) {
				w.Error("HasPending does not see the request")
			}
			fewer.RunningTimeout = w.short
			got := w.popOne(fewer)
			if got.ID != made.ID || got.Attempt != 2 || !got.LastDeadline.Equal(got.Deadline) {
				w.Errorf("got %s, want attempt 2 of %s as its last", show(got), made.ID)
			}
			w.untilStatus("s", made.ID, backends.StatusTimeout)
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("after its last attempt the request can be claimed")
			}
		}},

	{"a mailbox stays busy when a lease expires",
		"The update will run again. A second one must not start beside it.",
		func(w *world) {
			t := w.retried(2)
			t.Exclusive = true
			made := w.created(t)
			w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			w.wantBusy(t, made.ID)
		}},

	{"a request with an expired lease counts towards a full mailbox, a running one does not",
		"The cap is on what waits to be claimed.",
		func(w *world) {
			t := w.retried(2)
			t.MaxPending = 1
			running := t
			running.RunningTimeout = long
			made := w.created(t)
			w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			if _, err := w.b.Create(w.Context(), request(t, box)); !errors.Is(err, backends.ErrFull) {
				w.Errorf("with one expired lease: got %v, want ErrFull", err)
			}
			w.popOne(running)
			w.created(t)
		}},

	{"new requests and those with an expired lease are claimed by their last deadlines",
		"A steady stream of new requests must not starve those whose worker died.",
		func(w *world) {
			t := w.retried(3)
			expired := w.created(t)
			w.pass(0)
			before := w.created(t)
			w.popOne(t)
			w.untilStatus("s", expired.ID, backends.StatusPending)
			w.pass(0)
			after := w.created(t)
			want := []string{before.ID, expired.ID, after.ID}
			if got := ids(w.pop(t, 3)); !slices.Equal(got, want) {
				w.Errorf("got  %v\nwant %v", got, want)
			}
		}},

	{"a request with an expired lease that a claim left behind is pending, and can be ended",
		"A backend that moves expired leases to another queue must know where they are.",
		func(w *world) {
			t := w.retried(3)
			made := w.created(t)
			w.pass(0)
			longer := w.created(t)
			first := w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			lasting := t
			lasting.RunningTimeout = long
			if got := w.popOne(lasting); got.ID != longer.ID {
				w.Fatalf("claimed %s, want %s, which has been claimable longer", got.ID, longer.ID)
			}
			if !w.pending("s", box) {
				w.Error("HasPending does not see the request")
			}
			w.end(completion(t, first))
			if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
				w.Error("the ended request can be claimed")
			}
		}},

	{"a record with an expired lease outlives its pending time",
		"It must not vanish while it waits for its next attempt, nor before its end was readable.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			t.PendingTimeout, t.Retention = w.short, w.short
			one := w.popOne(t)
			w.untilGone("s", made.ID, one.LastDeadline.Add(t.Retention))
		}},
}

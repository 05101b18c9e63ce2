package backendtest

import (
	"slices"

	"github.com/pendingq/pendingq/backends"
)

// withAttempts returns terms with n attempts.
func withAttempts(n int) backends.Terms {
	t := terms("s")
	t.MaxAttempts = n
	return t
}

// retried returns terms with n attempts, each with a short lease.
func (w *world) retried(n int) backends.Terms {
	t := withAttempts(n)
	t.RunningTimeout = w.short
	return t
}

var attemptCases = []testCase{
	{"when a lease expires the request reads as pending and can be claimed again",
		"Another worker takes over the work of a dead one.",
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

	{"a running request with attempts left cannot be claimed",
		"A second attempt while the first one runs does the work twice.",
		func(w *world) {
			t := withAttempts(3)
			w.created(t)
			w.popOne(t)
			w.checkUnclaimable(t, "a running request")
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
			w.checkUnclaimable(t, "the timed-out request")
		}},

	{"an expired request without another claim times out at its last deadline",
		"The requester must not wait for ever for another attempt.",
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
			w.checkUnclaimable(t, "the timed-out request")
			w.checkFinal(terms("s"), made.ID, 1)
		}},

	{"a worker may end its request after its lease expired, until the next claim",
		"The work is done. Doing it again would be waste.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			one := w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			w.end(completion(t, one))
			w.checkUnclaimable(t, "the ended request")
		}},

	{"after another claim the old worker's report is stale",
		"Two workers must not both believe that their result was stored.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			one := w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			t.RunningTimeout = long
			two := w.popOne(t)
			w.wantEndError(completion(t, one), backends.ErrStaleClaim)
			w.wantExtendError(extension(t, made.ID, 1), backends.ErrStaleClaim)
			checkSame(w, w.get("s", made.ID), two)
			w.end(completion(t, two))
		}},

	{"an expired lease cannot be extended",
		"Another worker may be about to claim the request.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			w.popOne(t)
			expired := w.untilStatus("s", made.ID, backends.StatusPending)
			w.wantExtendError(extension(t, made.ID, 1), backends.ErrStaleClaim)
			checkSame(w, w.get("s", made.ID), expired)
		}},

	{"an extended lease expires at its new deadline, not before",
		"The request's place in the queue has to move with the deadline.",
		func(w *world) {
			t := withAttempts(2)
			brief := t
			brief.RunningTimeout = w.short
			made := w.created(t)
			running := w.popOne(brief)
			w.extendInTime(t, made.ID, running.Deadline)
			w.pass(2 * w.short)
			w.checkUnclaimable(t, "the extended request")
			w.extend(brief, made.ID)
			w.untilStatus("s", made.ID, backends.StatusPending)
			if got := w.popOne(t); got.ID != made.ID || got.Attempt != 2 {
				w.Errorf("got %s", show(got))
			}
		}},

	{"a policy with fewer attempts removes no attempt",
		"Nodes of two versions share a store. HasPending and Claim must agree.",
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
			w.checkUnclaimable(t, "the request, after its last attempt,")
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
		"MaxPending limits claimable requests.",
		func(w *world) {
			t := w.retried(2)
			t.MaxPending = 1
			running := t
			running.RunningTimeout = long
			made := w.created(t)
			w.popOne(t)
			w.untilStatus("s", made.ID, backends.StatusPending)
			_ = w.wantRefused(t, backends.ErrFull)
			w.popOne(running)
			w.created(t)
		}},

	{"new and expired requests are claimed in the order of their last deadlines",
		"A steady stream of new requests must not starve requests of dead workers.",
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

	{"an expired request that a claim has left out is pending and can be ended",
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
			w.checkUnclaimable(t, "the ended request")
		}},

	{"a record with an expired lease outlives its pending time",
		"The record must not disappear before its next attempt, or before readers saw its end.",
		func(w *world) {
			t := w.retried(2)
			made := w.created(t)
			t.PendingTimeout, t.Retention = w.short, w.short
			one := w.popOne(t)
			w.untilGone("s", made.ID, one.LastDeadline.Add(t.Retention))
		}},
}

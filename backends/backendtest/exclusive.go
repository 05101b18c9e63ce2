package backendtest

import "github.com/pendingq/pendingq/backends"

// exclusive returns the terms of a node that has set Exclusive. The terms of other nodes have not.
func exclusive() backends.Terms {
	t := terms("s")
	t.Exclusive = true
	return t
}

// ended creates a request and ends it unclaimed. So the newest request of box is not live.
func (w *world) ended(t backends.Terms) {
	w.Helper()
	w.end(completion(t, w.created(t)))
}

var exclusiveCases = []testCase{
	{"exclusive counts a request that was created before Exclusive was set",
		"During a rollout an older request lives behind a newer one that has ended.",
		func(w *world) {
			older := w.created(terms("s"))
			w.ended(terms("s"))
			w.wantBusy(exclusive(), older.ID)
			w.end(completion(terms("s"), older))
			w.created(exclusive())
		}},

	{"exclusive counts each of several live requests",
		"The end of one request must not hide the others.",
		func(w *world) {
			for range 3 {
				w.created(terms("s"))
			}
			claimed := w.pop(terms("s"), 2)
			w.end(completion(terms("s"), claimed[1]))
			pending := w.popOne(terms("s"))
			w.end(completion(terms("s"), pending))
			w.wantBusy(exclusive(), claimed[0].ID)
			w.end(completion(terms("s"), claimed[0]))
			w.created(exclusive())
		}},

	{"exclusive counts a request that was claimed without Exclusive",
		"A worker of a node with the old policy still works on it.",
		func(w *world) {
			w.created(terms("s"))
			running := w.popOne(terms("s"))
			w.ended(terms("s"))
			w.wantBusy(exclusive(), running.ID)
			w.extend(terms("s"), running.ID)
			w.wantBusy(exclusive(), running.ID)
			w.end(completion(terms("s"), running))
			w.created(exclusive())
		}},

	{"exclusive counts an exclusive request that was claimed and extended without Exclusive",
		"The request stays live for as long as its lease, whoever renews the lease.",
		func(w *world) {
			brief := exclusive()
			brief.PendingTimeout = w.short
			running := w.popInTime(terms("s"), w.created(brief).Deadline)
			w.pass(2 * w.short)
			w.wantBusy(exclusive(), running.ID)
			w.extend(terms("s"), running.ID)
			w.wantBusy(exclusive(), running.ID)
		}},

	{"exclusive counts an expired lease that has attempts left",
		"The request will run again, beside any new request.",
		func(w *world) {
			older := w.created(w.retried(2))
			w.popOne(w.retried(2))
			w.ended(terms("s"))
			w.untilStatus("s", older.ID, backends.StatusPending)
			w.wantBusy(exclusive(), older.ID)
			again := w.popOne(terms("s"))
			w.wantBusy(exclusive(), older.ID)
			w.end(completion(terms("s"), again))
			w.created(exclusive())
		}},

	{"exclusive ignores requests that have ended or timed out",
		"A mailbox that stays busy for ever gets no further requests.",
		func(w *world) {
			unclaimed, silent, expired := terms("s"), w.retried(1), w.retried(2)
			unclaimed.PendingTimeout, expired.PendingTimeout = w.short, w.short
			w.ended(terms("s"))
			w.created(terms("s"))
			w.end(completion(terms("s"), w.popOne(terms("s"))))
			w.created(terms("s"))
			w.popOne(silent)
			w.created(terms("s"))
			lost := w.popOne(expired)
			last := w.created(unclaimed)
			w.until("all have timed out", func() bool {
				now := w.clock()
				return now.After(lost.LastDeadline) && now.After(last.LastDeadline)
			})
			w.created(exclusive())
		}},
}

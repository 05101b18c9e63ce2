package backendtest

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// wakeCases are for a [backends.Waker]. Other backends skip them.
var wakeCases = []testCase{
	{"a new request wakes every watcher of its mailbox",
		"Without a signal, a waiting worker finds the request only at its next poll.",
		func(w *world) {
			waker := w.waker()
			one, stopOne := waker.WatchMailbox(w.Context(), box)
			defer stopOne()
			two, stopTwo := waker.WatchMailbox(w.Context(), box)
			defer stopTwo()
			for _, store := range []string{"a", "b"} {
				w.created(terms(store))
				w.untilWoken(one)
				w.untilWoken(two)
			}
		}},

	{"a new request wakes the watcher of a mailbox of any name",
		"A name without escaping changes the meaning of a channel or a query.",
		func(w *world) {
			waker := w.waker()
			for _, mailbox := range hostileMailboxes {
				signal, stop := waker.WatchMailbox(w.Context(), mailbox)
				w.create(request(terms("s"), mailbox))
				w.untilWoken(signal)
				stop()
			}
		}},

	{"an end wakes every watcher of its request",
		"Without a signal, a front end finds the answer only at its next poll.",
		func(w *world) {
			waker := w.waker()
			t := terms("s")
			for _, end := range []func(backends.Record){
				func(r backends.Record) { w.end(completion(t, r)) },
				func(r backends.Record) { w.cancel(giveUp(t, r)) },
			} {
				made := w.created(t)
				one, stopOne := waker.WatchRequest(w.Context(), made.ID)
				defer stopOne()
				two, stopTwo := waker.WatchRequest(w.Context(), made.ID)
				defer stopTwo()
				end(made)
				w.untilWoken(one)
				w.untilWoken(two)
			}
		}},

	{"a large answer wakes the watcher of its request",
		"An engine that stores large answers separately must send a signal, too.",
		func(w *world) {
			waker := w.waker()
			t := terms("s")
			made := w.created(t)
			signal, stop := waker.WatchRequest(w.Context(), made.ID)
			defer stop()
			e := completion(t, made)
			e.Mailbox, e.Payload = box, make([]byte, 100_000)
			w.end(e)
			w.untilWoken(signal)
		}},

	{"an expired lease wakes the watchers of its mailbox, if they do not poll",
		"A worker without polling must not miss a claimable request.",
		func(w *world) {
			waker := w.waker()
			if waker.PollInterval() > 0 {
				return // a worker finds the request at its next poll
			}
			t := w.retried(3)
			w.created(t)
			running := w.popOne(terms("s"))
			signal, stop := waker.WatchMailbox(w.Context(), box)
			defer stop()
			w.renew(extension(t, running.ID, 1))
			w.untilWoken(signal)
			w.release(t, w.popOne(terms("s")), w.short)
			w.untilWoken(signal)
		}},

	{"a watcher that stops does not stop the others",
		"Waiters come and go all the time.",
		func(w *world) {
			waker := w.waker()
			_, stopOne := waker.WatchMailbox(w.Context(), box)
			two, stopTwo := waker.WatchMailbox(w.Context(), box)
			defer stopTwo()
			stopOne()
			w.created(terms("s"))
			w.untilWoken(two)
		}},
}

// waker returns the backend as a Waker. If the backend is not a Waker, it skips the case.
func (w *world) waker() backends.Waker {
	w.Helper()
	return optional[backends.Waker](w)
}

// untilWoken waits for a signal, and fails after a minute.
func (w *world) untilWoken(signal <-chan struct{}) {
	w.Helper()
	select {
	case <-signal:
	case <-time.After(time.Minute):
		w.Fatal("gave up waiting for a signal")
	}
}

package backendtest

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// wakeCases are for a backend that is a [backends.Waker]. Any other skips them.
var wakeCases = []testCase{
	{"a new request wakes every watcher of its mailbox",
		"A worker that waits must not find its work only at its next poll.",
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
		"A name that is pasted into a channel's or a query's text may reach another one.",
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
		"A front end must not find its answer only at its next poll.",
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
		"An engine may store large answers in another way, and must not forget who waits for them.",
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
		"A worker that trusts silence for ever must not sleep beside a request it could claim.",
		func(w *world) {
			waker := w.waker()
			if waker.PollInterval() > 0 {
				return // a worker looks again after that time
			}
			t := w.retried(3)
			w.created(t)
			running := w.popOne(terms("s"))
			signal, stop := waker.WatchMailbox(w.Context(), box)
			defer stop()
			w.renew(backends.Extend{Terms: t, ID: running.ID, Attempt: 1})
			w.untilWoken(signal)
			w.release(t, w.popOne(terms("s")), w.short)
			w.untilWoken(signal)
		}},

	{"a watcher that stops takes no other's signals with it",
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

// waker returns the backend as a Waker, or skips the case.
func (w *world) waker() backends.Waker {
	w.Helper()
	waker, ok := backends.As[backends.Waker](w.b)
	if !ok {
		w.Skip("the backend is no Waker")
	}
	return waker
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

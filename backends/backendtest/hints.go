package backendtest

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// hints are mailboxes that a caller may name for a request in box. The last one is not empty.
var hints = []string{box, "", "a wrong hint"}

// checkStays checks that a request reads as in box, and that the hinted mailbox did not get it.
func (w *world) checkStays(what, hint, id string) {
	w.Helper()
	if got := w.get("s", id).Mailbox; got != box {
		w.Errorf("%s with the hint %q moved the request to %q", what, hint, got)
	}
	if hint != box && hint != "" && w.pending("s", hint) {
		w.Errorf("%s with the hint %q put the request into its queue", what, hint)
	}
}

// hintCases are about calls with a wrong mailbox.
var hintCases = []testCase{
	{"an extension moves no request, whatever its hint",
		"A worker that names a wrong mailbox must not take the request away from others.",
		func(w *world) {
			t := withAttempts(2)
			for _, hint := range hints {
				for _, size := range []int{0, 10, 100_000} {
					for _, release := range []bool{false, true} {
						running := w.running(t)
						x := extension(t, running.ID, 1)
						x.Mailbox, x.Release = hint, release
						if size > 0 {
							x.Codec, x.Payload = "other", make([]byte, size)
						}
						w.renew(x)
						w.checkStays("an extension", hint, running.ID)
						w.release(t, backends.Record{ID: running.ID, Attempt: 1}, 0)
						w.checkStays("an extension", hint, running.ID)
						two := w.popOne(t)
						if two.ID != running.ID || two.Mailbox != box {
							w.Fatalf("claimed %s, want %s in %q", show(two), running.ID, box)
						}
						w.end(completion(t, two))
					}
				}
			}
		}},

	{"a cancel finds its request, whatever its hint",
		"A cancelled request that stays in its queue keeps its mailbox busy.",
		func(w *world) {
			t := exclusive()
			for _, hint := range hints {
				for _, grace := range []time.Duration{0, long / 2} {
					c := cancelled(t, w.created(t), grace)
					c.Mailbox = hint
					w.cancel(c)
					w.checkStays("a cancel", hint, c.ID)
					w.checkUnclaimable(t, "the cancelled request")

					running := w.running(t)
					c.ID = running.ID
					w.cancel(c)
					w.checkStays("a cancel", hint, running.ID)
					if grace > 0 {
						w.wantBusy(t, running.ID)
						w.end(completion(t, running))
					}
				}
			}
		}},
}

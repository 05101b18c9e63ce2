package backendtest

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pendingq/pendingq/backends"
)

var endCases = []testCase{
	{"an end stores its outcome, answer and time",
		"The front end has been waiting for them.",
		func(w *world) {
			t := terms("s")
			made := w.created(t)
			running := w.popOne(t)
			e := completion(t, running)
			e.Outcome, e.Error, e.Codec = "conflict", strings.Repeat("long ü ", 1000), "other"
			before := w.later()
			ended := w.end(e)
			w.checkNow("UpdatedAt", ended.UpdatedAt, before)
			want := running
			want.Status, want.Error = e.Outcome, e.Error
			want.Codec, want.Payload = e.Codec, e.Payload
			want.UpdatedAt = ended.UpdatedAt
			checkSame(w, w.get("s", made.ID), want)
			checkHead(w, ended, want)
		}},

	{"an answer of any size is stored, read and repeated",
		"An engine may store large answers differently from small ones.",
		func(w *world) {
			t := terms("s")
			for _, size := range []int{
				0, 1, 1 << 10, 4 << 10, 5 << 10, 16 << 10, 17 << 10, 64<<10 + 1, 1 << 20,
			} {
				for _, mailbox := range []string{box, "", "a wrong hint"} {
					made := w.created(t)
					e := completion(t, w.popOne(t))
					e.Mailbox = mailbox
					e.Payload = bytes.Repeat([]byte{'0', 0xff, 0}, size/3+1)[:size]
					other := e
					other.Attempt = 2
					w.wantEndError(other, backends.ErrStaleClaim)
					w.end(e)
					got := w.get("s", made.ID)
					if got.Status != e.Outcome || !bytes.Equal(got.Payload, e.Payload) {
						w.Fatalf("%d bytes: got %s with %d bytes, want %s with these",
							size, got.Status, len(got.Payload), e.Outcome)
					}
					var ended *backends.EndedError
					if _, err := w.b.End(w.Context(), e); !errors.As(err, &ended) {
						w.Fatalf("%d bytes, again: got %v, want an EndedError", size, err)
					}
					checkSame(w, ended.Record, got)
				}
			}
		}},

	{"an error text is kept byte for byte",
		"It quotes a program's output. A text that is cut at a NUL misleads its reader.",
		func(w *world) {
			t := terms("s")
			for _, reason := range []string{
				"", "\x00", "disk full\x00 at sector 9", "ends with \x00", "\"quoted\" \\ 'so'",
				"\n\t", "%s", "u\u0308 \U0001F600 \uFFFD", strings.Repeat("0123456789abcdef", 1024),
			} {
				e := completion(t, w.running(t))
				e.Outcome, e.Error = backends.StatusFailed, reason
				w.checkError("ended", w.end(e), reason)
				w.checkError("ended, then read", w.get("s", e.ID), reason)

				c := giveUp(t, w.running(t))
				c.Error = reason
				w.checkError("cancelled", w.cancel(c), reason)
				w.checkError("cancelled, then read", w.get("s", c.ID), reason)

				running := w.running(t)
				c = cancelled(t, running, long)
				c.Error = reason
				if got := w.cancel(c); got.CancelReason != reason {
					w.Errorf("noted: got %q, want %q", got.CancelReason, reason)
				}
				if got := w.get("s", c.ID); got.CancelReason != reason {
					w.Errorf("noted, then read: got %q, want %q", got.CancelReason, reason)
				}
				lease := w.renew(extension(t, c.ID, 1))
				if lease.CancelReason != reason {
					w.Errorf("extended: got %q, want %q", lease.CancelReason, reason)
				}
				w.end(completion(t, running))
			}
		}},

	{"a large question is kept in every status",
		"A front end shows the question, also without an answer.",
		func(w *world) {
			t := terms("s")
			brief := t
			brief.RunningTimeout = w.short
			large := func(t backends.Terms) backends.Record {
				c := request(t, box)
				c.Payload = bytes.Repeat([]byte("large"), 20_000)
				w.create(c)
				return w.popOne(t)
			}
			check := func(rec backends.Record, status string) {
				w.Helper()
				got := w.get("s", rec.ID)
				if got.Status != status || !bytes.Equal(got.Payload, rec.Payload) ||
					len(got.Payload) != 100_000 {
					w.Errorf("got %s with %d bytes, want %s with the question",
						got.Status, len(got.Payload), status)
				}
			}
			rec := large(t)
			check(rec, backends.StatusRunning)
			w.cancel(giveUp(t, rec))
			check(rec, backends.StatusTimeout)
			rec = large(brief)
			w.untilStatus("s", rec.ID, backends.StatusTimeout)
			check(rec, backends.StatusTimeout)
			rec = large(t)
			e := completion(t, rec)
			e.Mailbox = box
			e.Payload = append(bytes.Clone(rec.Payload), "and its answer"...)
			w.end(e)
			if got := w.get("s", rec.ID); !bytes.Equal(got.Payload, e.Payload) {
				w.Errorf("got %d bytes, want question and answer", len(got.Payload))
			}
		}},

	{"a large answer is accepted and refused like a small one",
		"An engine that stores large answers separately must do so in every state.",
		func(w *world) {
			t := withAttempts(2)
			brief := t
			brief.RunningTimeout = w.short
			large := func(rec backends.Record) backends.End {
				e := completion(t, rec)
				e.Mailbox, e.Payload = box, bytes.Repeat([]byte("large"), 20_000)
				return e
			}
			w.end(large(w.created(t))) // before any claim
			w.created(t)
			expired := w.popOne(brief)
			w.untilStatus("s", expired.ID, backends.StatusPending)
			w.end(large(expired))
			if w.pending("s", box) {
				w.Error("HasPending reports an ended request")
			}
			w.wantEndError(large(backends.Record{ID: backends.NewID(box)}), backends.ErrNotFound)
			w.created(t)
			failed := completion(t, w.popOne(t))
			failed.Outcome = backends.StatusFailed
			w.end(failed)
			w.wantEndError(large(backends.Record{ID: failed.ID, Attempt: 1}), backends.ErrEnded)
			if got := w.get("s", failed.ID); got.Status != failed.Outcome {
				w.Errorf("got %s, want the unchanged %s", got.Status, failed.Outcome)
			}
		}},

	{"a request may end before any claim, and then leaves the queue",
		"A front end may answer from a cache, or the requester may give up.",
		func(w *world) {
			t := terms("s")
			w.end(completion(t, w.created(t)))
			w.cancel(giveUp(t, w.created(t)))
			w.checkUnclaimable(t, "an ended request")
		}},

	{"an end needs the attempt that is stored",
		"A worker with another attempt must not answer for the current worker.",
		func(w *world) {
			t := terms("s")
			unclaimed := w.created(t)
			e := completion(t, unclaimed)
			e.Attempt = 1
			w.wantEndError(e, backends.ErrStaleClaim)
			running := w.popOne(t)
			for _, attempt := range []int{0, 2} {
				e := completion(t, running)
				e.Attempt = attempt
				w.wantEndError(e, backends.ErrStaleClaim)
			}
			checkSame(w, w.get("s", running.ID), running)
		}},

	{"ending an unknown request is not found",
		"A report can come long after the record has disappeared.",
		func(w *world) {
			t := terms("s")
			e := completion(t, backends.Record{ID: backends.NewID(box)})
			w.wantEndError(e, backends.ErrNotFound)
			e = completion(t, w.created(t))
			e.Store = "other"
			w.wantEndError(e, backends.ErrNotFound)
		}},

	{"an ended request never changes again",
		"A front end may have read the outcome and acted on it.",
		func(w *world) {
			t := terms("s")
			for _, outcome := range []string{backends.StatusCompleted, backends.StatusFailed,
				backends.StatusTimeout, "conflict"} {
				w.created(t)
				e := completion(t, w.popOne(t))
				e.Outcome = outcome
				w.end(e)
				w.checkFinal(t, e.ID, 1)
			}
		}},

	{"a timed-out request never changes again",
		"A reader saw the timeout. A late report must not undo it.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.PendingTimeout, brief.RunningTimeout = w.short, w.short
			unclaimed := w.created(brief)
			w.untilStatus("s", unclaimed.ID, backends.StatusTimeout)
			w.checkFinal(t, unclaimed.ID, 0)

			claimed := w.created(t)
			w.popOne(brief)
			w.untilStatus("s", claimed.ID, backends.StatusTimeout)
			w.checkFinal(t, claimed.ID, 1)
		}},

	{"64 endings at once: one wins",
		"Several callers may end a request on different nodes at the same instant.",
		func(w *world) {
			t := terms("s")
			for range 20 {
				running := w.running(t)
				w.checkOneWins(running.ID, 64, func(i int) (string, error) {
					if i%3 == 2 {
						_, err := w.b.Cancel(w.Context(), giveUp(t, running))
						return backends.StatusTimeout, err
					}
					e := completion(t, running)
					e.Outcome = []string{backends.StatusCompleted, backends.StatusFailed}[i%3]
					_, err := w.b.End(w.Context(), e)
					return e.Outcome, err
				})
			}
		}},

	{"a claim and an end at once: one wins",
		"A worker must not start a request that its requester has ended.",
		func(w *world) {
			t := terms("s")
			for range 50 {
				made := w.created(t)
				var claimed []backends.Record
				var endErr error
				w.together(2, func(i int) {
					if i == 0 {
						claimed = w.pop(t, 1)
					} else {
						_, endErr = w.b.End(w.Context(), completion(t, made))
					}
				})
				w.allow(endErr, backends.ErrStaleClaim)
				if (endErr == nil) == (len(claimed) == 1) {
					w.Fatalf("claimed %d, and ended unclaimed with %v", len(claimed), endErr)
				}
			}
		}},
}

// checkOneWins ends a request by n calls at once. One of them must succeed, and its outcome must be
// stored.
func (w *world) checkOneWins(id string, n int, end func(i int) (outcome string, err error)) {
	w.Helper()
	var won atomic.Int32
	var winner atomic.Value
	w.together(n, func(i int) {
		outcome, err := end(i)
		w.allow(err, backends.ErrEnded)
		if err == nil {
			won.Add(1)
			winner.Store(outcome)
		}
	})
	if got := w.get("s", id).Status; won.Load() != 1 || got != winner.Load() {
		w.Fatalf("%d calls won, the last as %v; the record says %s",
			won.Load(), winner.Load(), got)
	}
}

// running creates a request and claims it.
func (w *world) running(t backends.Terms) backends.Record {
	w.Helper()
	w.created(t)
	return w.popOne(t)
}

func (w *world) checkError(when string, got backends.Record, want string) {
	w.Helper()
	if got.Error != want {
		w.Errorf("%s: got the error %q, want %q", when, got.Error, want)
	}
}

func (w *world) wantEndError(e backends.End, want error) {
	w.Helper()
	if _, err := w.b.End(w.Context(), e); !errors.Is(err, want) {
		w.Errorf("End: got %v, want %v", err, want)
	}
}

// checkFinal tries every operation on an ended record. None may change it.
func (w *world) checkFinal(t backends.Terms, id string, attempt int) {
	w.Helper()
	final := w.get(t.Store, id)
	check := func(what string, err error) {
		w.Helper()
		var ended *backends.EndedError
		if !errors.As(err, &ended) {
			w.Fatalf("%s: got %v, want an EndedError", what, err)
		}
		checkSame(w, ended.Record, final)
	}
	for _, outcome := range []string{
		backends.StatusCompleted, backends.StatusFailed, backends.StatusTimeout} {
		for _, attempt := range []int{0, attempt, attempt + 1} {
			_, err := w.b.End(w.Context(), backends.End{Terms: t, ID: id, Outcome: outcome,
				Attempt: attempt, Codec: "raw", Payload: []byte("late")})
			check("End as "+outcome, err)
		}
		for _, grace := range []time.Duration{0, long} {
			_, err := w.b.Cancel(w.Context(), backends.Cancel{
				Terms: t, ID: id, Outcome: outcome, Error: "late", Grace: grace})
			check("Cancel as "+outcome, err)
		}
	}
	for _, release := range []bool{false, true} {
		w.wantExtendError(backends.Extend{Terms: t, ID: id, Attempt: max(1, attempt),
			Codec: "raw", Payload: []byte("late"), Release: release}, backends.ErrEnded)
	}
	if got := w.pop(t, 100); len(got) != 0 {
		w.Errorf("a claim got the ended request: %v", ids(got))
	}
	checkSame(w, w.get(t.Store, id), final)
}

func (w *world) wantExtendError(e backends.Extend, want error) {
	w.Helper()
	if _, err := w.b.Extend(w.Context(), e); !errors.Is(err, want) {
		w.Errorf("Extend: got %v, want %v", err, want)
	}
}

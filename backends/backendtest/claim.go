package backendtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pendingq/pendingq/backends"
)

var claimCases = []testCase{
	{"a claim starts the request's first attempt",
		"The worker gets the question, and everyone else sees that it is taken and until when.",
		func(w *world) {
			t := terms("s")
			made := w.created(t)
			got := w.popOne(t)
			if got.StartedAt.Before(made.CreatedAt) {
				w.Errorf("StartedAt %v is before CreatedAt %v", got.StartedAt, made.CreatedAt)
			}
			want := made
			want.Status, want.Attempt = backends.StatusRunning, 1
			want.StartedAt, want.UpdatedAt = got.StartedAt, got.StartedAt
			want.Deadline = got.StartedAt.Add(long)
			want.LastDeadline = want.Deadline
			checkSame(w, got, want)
			checkSame(w, w.get("s", made.ID), want)
		}},

	{"an empty mailbox gives nothing and no error",
		"It is the answer to nearly every poll.",
		func(w *world) {
			if got := w.pop(terms("s"), 100); len(got) != 0 {
				w.Errorf("got %d requests from an empty mailbox", len(got))
			}
		}},

	{"64 claimers of one request: one wins",
		"Work that is done twice is the fault this library exists to prevent.",
		func(w *world) {
			t := terms("s")
			w.created(t)
			var won atomic.Int32
			w.together(64, func(int) { won.Add(int32(len(w.pop(t, 1)))) })
			if won.Load() != 1 {
				w.Errorf("%d claimers won, want 1", won.Load())
			}
		}},

	{"64 claimers of 100 requests: each is handed out once",
		"Nothing may be lost between claimers that collide, either.",
		func(w *world) {
			t := terms("s")
			var want []string
			for range 100 {
				want = append(want, w.created(t).ID)
			}
			var mu sync.Mutex
			var got []string
			w.together(64, func(int) {
				records := w.pop(t, 2)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, ids(records)...)
			})
			if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				w.Errorf("%d requests were handed out, want each of the 100 once", len(got))
			}
		}},

	{"the longest claimable comes first",
		"A mailbox that is never empty must not starve its oldest request.",
		func(w *world) {
			t := terms("s")
			var want []string
			for range 5 {
				want = append(want, w.created(t).ID)
				w.pass(0)
			}
			got := append(ids(w.pop(t, 2)), ids(w.pop(t, 100))...)
			if !slices.Equal(got, want) {
				w.Errorf("got  %v\nwant %v", got, want)
			}
		}},

	{"the request whose last deadline is the earliest comes first",
		"What is about to time out must not wait behind what has hours left.",
		func(w *world) {
			t, sooner := terms("s"), terms("s")
			sooner.PendingTimeout = long / 2
			second := w.created(t)
			w.pass(0)
			first := w.created(sooner)
			if got := ids(w.pop(t, 2)); !slices.Equal(got, []string{first.ID, second.ID}) {
				w.Errorf("got  %v\nwant %v and %v", got, first.ID, second.ID)
			}
		}},

	{"a claim keeps to its limit",
		"A worker asks for as much as it can do before the deadline.",
		func(w *world) {
			t := terms("s")
			for range 7 {
				w.created(t)
			}
			for _, want := range []int{3, 3, 1, 0} {
				if got := len(w.pop(t, 3)); got != want {
					w.Errorf("got %d requests, want %d", got, want)
				}
			}
		}},

	{"one claim serves several stores",
		"A heartbeat asks for five kinds of work at once, and each answer must stand in its place.",
		func(w *world) {
			a, b, c := terms("a"), terms("b"), terms("c")
			inA, first, second := w.created(a), w.created(c), w.created(c)
			got := w.claim(poll(box, a, b, c))
			if !slices.Equal(ids(got[0]), []string{inA.ID}) || len(got[1]) != 0 || len(got[2]) != 1 {
				w.Fatalf("got %v, %v, %v, want one of a, none of b, one of c",
					ids(got[0]), ids(got[1]), ids(got[2]))
			}
			if of := got[2][0].ID; of != first.ID && of != second.ID {
				w.Errorf("c's request is %s, want %s or %s", of, first.ID, second.ID)
			}
		}},

	{"each store of a claim has its own terms",
		"An update may run for minutes where a ping has seconds.",
		func(w *world) {
			a, b := terms("a"), terms("b")
			b.RunningTimeout = 2 * long
			w.created(a)
			w.created(b)
			got := w.claim(poll(box, a, b))
			for i, want := range []backends.Terms{a, b} {
				if run := got[i][0].Deadline.Sub(got[i][0].StartedAt); run != want.RunningTimeout {
					w.Errorf("%s runs for %v, want %v", want.Store, run, want.RunningTimeout)
				}
			}
		}},

	{"a claim passes over what timed out and takes the next in the same call",
		"A queue with stale entries in front must not look empty.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.PendingTimeout = w.short
			var last backends.Record
			for range 150 {
				last = w.created(brief)
			}
			live := w.created(t)
			w.untilStatus("s", last.ID, backends.StatusTimeout)
			if got := w.popOne(t); got.ID != live.ID {
				w.Errorf("got %s, want the live %s", got.ID, live.ID)
			}
			if w.pending("s", box) {
				w.Error("the mailbox still has something pending")
			}
		}},

	{"a request that lives longer survives its queue's shorter ones",
		"A queue that expires by the latest caller's policy loses what an earlier one stored.",
		func(w *world) {
			t, brief := terms("s"), terms("s")
			brief.PendingTimeout, brief.Retention = w.short, w.short
			live := w.created(t)
			w.created(brief)
			w.pass(3 * w.short)
			if got := w.popOne(t); got.ID != live.ID {
				w.Errorf("got %s, want %s", got.ID, live.ID)
			}
		}},

	{"HasPending says exactly whether a claim would get something",
		"Schedulers act on it; a running request is none that a claim could get.",
		func(w *world) {
			t := terms("s")
			check := func(when string, want bool) {
				w.Helper()
				if got := w.pending("s", box); got != want {
					w.Errorf("%s: got %v, want %v", when, got, want)
				}
			}
			check("empty", false)
			w.created(t)
			check("one pending", true)
			check("one pending, asked again", true)
			running := w.popOne(t)
			check("one running", false)
			w.end(completion(t, running))
			check("one ended", false)
			ended := w.created(t)
			w.end(completion(t, ended))
			check("one ended unclaimed", false)
			brief := t
			brief.PendingTimeout = w.short
			lost := w.created(brief)
			w.untilStatus("s", lost.ID, backends.StatusTimeout)
			check("one timed out", false)
		}},

	{"an operation whose context has ended does nothing",
		"A caller that has gone away must not take work with it.",
		func(w *world) {
			t := terms("s")
			made := w.created(t)
			ctx, cancel := context.WithCancel(w.Context())
			cancel()
			refused := request(t, box)
			_, createErr := w.b.Create(ctx, refused)
			_, getErr := w.b.Get(ctx, "s", made.ID)
			_, pendingErr := w.b.HasPending(ctx, "s", box)
			_, claimErr := w.b.Claim(ctx, poll(box, t))
			_, extendErr := w.b.Extend(ctx, backends.Extend{Terms: t, ID: made.ID, Attempt: 1})
			_, cancelErr := w.b.Cancel(ctx, giveUp(t, made))
			_, endErr := w.b.End(ctx, completion(t, made))
			for _, err := range []error{
				createErr, getErr, pendingErr, claimErr, extendErr, cancelErr, endErr} {
				if !errors.Is(err, context.Canceled) {
					w.Errorf("got %v, want context.Canceled", err)
				}
			}
			checkSame(w, w.get("s", made.ID), made)
		}},
}

// together runs f n times at once and waits for all.
func (w *world) together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// allow reports an error that is neither nil nor one of these.
func (w *world) allow(err error, allowed ...error) {
	w.Helper()
	if err != nil && !slices.ContainsFunc(allowed, func(a error) bool { return errors.Is(err, a) }) {
		w.Errorf("unexpected error: %v", err)
	}
}

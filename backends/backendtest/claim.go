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
		"The worker gets the question. Readers see that the request runs, and until when.",
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
		"Nearly every poll finds an empty mailbox.",
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
		"Claimers that collide must not lose a request.",
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
		"A request that is about to time out must not wait behind one with hours left.",
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
		"A worker claims only as many requests as it can finish in time.",
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
		"A heartbeat claims from five stores at once. Each result must be at its store's place.",
		func(w *world) {
			a, b, c := terms("a"), terms("b"), terms("c")
			inA, first, second := w.created(a), w.created(c), w.created(c)
			got := w.claim(poll(box, a, b, c))
			if len(got[0]) != 1 || len(got[1]) != 0 || len(got[2]) != 1 {
				w.Fatalf("got %v, %v, %v, want one of a, none of b, one of c",
					ids(got[0]), ids(got[1]), ids(got[2]))
			}
			if got[0][0].ID != inA.ID {
				w.Errorf("a's request is %s, want %s", got[0][0].ID, inA.ID)
			}
			if id := got[2][0].ID; id != first.ID && id != second.ID {
				w.Errorf("c's request is %s, want %s or %s", id, first.ID, second.ID)
			}
		}},

	{"each store of a claim has its own terms",
		"An update may run for minutes, a ping only for seconds.",
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

	{"each store of a claim has its own limit",
		"A worker may have room for three pings, but for one import only.",
		func(w *world) {
			one := backends.From{Terms: terms("a"), Limit: 1}
			three := backends.From{Terms: terms("b"), Limit: 3}
			for range 8 {
				w.created(one.Terms)
				w.created(three.Terms)
			}
			for _, from := range [][]backends.From{{one, three}, {three, one}} {
				for i, got := range w.claim(backends.Claim{
					ID: backends.NewID(box), Mailbox: box, From: from}) {
					if len(got) != from[i].Limit {
						w.Errorf("got %d requests of %s, want %d",
							len(got), from[i].Store, from[i].Limit)
					}
				}
			}
		}},

	{"a claim skips timed-out requests and takes the next one in the same call",
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
				w.Error("HasPending reports a request after the last was claimed")
			}
		}},

	{"a request that lives longer survives its queue's shorter ones",
		"A queue that expires by the latest caller's policy loses requests of earlier callers.",
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

	{"HasPending reports exactly whether a claim would get a request",
		"Schedulers act on it. A running request is not claimable.",
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
			_, extendErr := w.b.Extend(ctx, extension(t, made.ID, 1))
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

// checkUnclaimable checks that box has no claimable request. What names the request in box.
func (w *world) checkUnclaimable(t backends.Terms, what string) {
	w.Helper()
	if w.pending("s", box) || len(w.pop(t, 100)) != 0 {
		w.Errorf("%s can be claimed", what)
	}
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

// allow reports any error except the allowed ones.
func (w *world) allow(err error, allowed ...error) {
	w.Helper()
	isErr := func(target error) bool { return errors.Is(err, target) }
	if err != nil && !slices.ContainsFunc(allowed, isErr) {
		w.Errorf("unexpected error: %v", err)
	}
}

package backendtest

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/pendingq/pendingq/backends"
)

// endBriefly ends a claim, and waits until the record has disappeared.
func (w *world) endBriefly(t backends.Terms, claim backends.Record) {
	w.Helper()
	t.Retention = w.short
	w.end(completion(t, claim))
	w.until("the record has gone", func() bool {
		_, err := w.b.Get(w.Context(), t.Store, claim.ID)
		w.allow(err, backends.ErrNotFound)
		return errors.Is(err, backends.ErrNotFound)
	})
}

var repeatCases = []testCase{
	{"a repeated create returns the first request in any status",
		"A client library may repeat a call after a lost reply, even after a worker acted.",
		func(w *world) {
			t := terms("s")
			c := request(t, box)
			made := w.create(c)
			again := c
			again.Payload = []byte("another question")
			checkSame(w, w.create(again), made)
			running := w.popOne(t)
			checkSame(w, w.create(again), running)
			w.end(completion(t, running))
			checkSame(w, w.create(again), w.get("s", c.ID))
			if got := w.pop(t, 100); len(got) != 0 {
				w.Errorf("the repeats can be claimed: %v", ids(got))
			}
		}},

	{"a repeated create returns the request as it reads now",
		"A caller that repeats an idempotency key must not wait for an ended request.",
		func(w *world) {
			t := terms("s")
			c := request(t, box)
			w.create(c)
			w.popOne(w.retried(2))
			expired := w.untilStatus("s", c.ID, backends.StatusPending)
			checkSame(w, w.create(c), expired)
			running := w.popOne(t)
			w.cancel(cancelled(t, running, w.short))
			over := w.untilStatus("s", c.ID, backends.StatusCancelled)
			checkSame(w, w.create(c), over)

			c = request(t, box)
			w.create(c)
			w.popOne(w.retried(1))
			lost := w.untilStatus("s", c.ID, backends.StatusTimeout)
			checkSame(w, w.create(c), lost)
		}},

	{"a repeated create is answered before busy and full",
		"The caller's own request must not be the reason for a refusal.",
		func(w *world) {
			t := terms("s")
			t.Exclusive, t.MaxPending = true, 1
			c := request(t, box)
			made := w.create(c)
			checkSame(w, w.create(c), made)
			w.end(completion(t, made))
			w.created(t)
			checkSame(w, w.create(c), w.get("s", c.ID))
		}},

	{"64 creates of one id make one request",
		"Two nodes with the same idempotency key have to agree on one request.",
		func(w *world) {
			t := terms("s")
			c := request(t, box)
			w.together(64, func(int) { w.create(c) })
			if got := w.pop(t, 100); len(got) != 1 {
				w.Errorf("got %d requests, want 1", len(got))
			}
		}},

	{"a repeated claim returns the same requests and claims no more",
		"If a reply is lost, its requests must not wait until their deadlines.",
		func(w *world) {
			a, b := terms("a"), terms("b")
			c := poll(box, a, b)
			for range 3 {
				w.created(a)
				w.created(b)
			}
			first := w.claim(c)
			c.From[0].Limit, c.From[1].Limit = 100, 100
			second := w.claim(c)
			for i := range first {
				if !slices.Equal(ids(second[i]), ids(first[i])) {
					w.Fatalf("got %v, then %v", ids(first[i]), ids(second[i]))
				}
				checkSame(w, second[i][0], first[i][0])
			}
		}},

	{"a repeated claim finds its results by store, not by position",
		"Nodes of two versions may list their stores in different order.",
		func(w *world) {
			a, b := terms("a"), terms("b")
			inA := w.created(a)
			c := poll(box, a, b)
			w.claim(c)
			c.From[0], c.From[1] = c.From[1], c.From[0]
			if got := w.claim(c); len(got[0]) != 0 || !slices.Equal(ids(got[1]), []string{inA.ID}) {
				w.Errorf("got %v of b and %v of a, want only %s of a",
					ids(got[0]), ids(got[1]), inA.ID)
			}
		}},

	{"64 claims of one id get the same request",
		"A load balancer may send the retry to another node while the first call still runs.",
		func(w *world) {
			t := terms("s")
			for range 3 {
				w.created(t)
			}
			c := poll(box, t)
			var mu sync.Mutex
			got := map[string]int{}
			w.together(64, func(int) {
				for _, id := range ids(w.claim(c)[0]) {
					mu.Lock()
					got[id]++
					mu.Unlock()
				}
			})
			if times := slices.Collect(maps.Values(got)); !slices.Equal(times, []int{64}) {
				w.Errorf("got %v, want one request 64 times", got)
			}
		}},

	{"a repeated claim leaves out ended requests",
		"The work is done. A second claim would do it twice.",
		func(w *world) {
			t := terms("s")
			w.created(t)
			w.created(t)
			c := poll(box, t)
			c.From[0].Limit = 2
			got := w.claim(c)[0]
			w.end(completion(t, got[0]))
			if again := w.claim(c)[0]; !slices.Equal(ids(again), ids(got[1:])) {
				w.Errorf("got %v, want %v", ids(again), ids(got[1:]))
			}
		}},

	{"a repeated claim leaves out an expired lease and a request of a later claim",
		"Only the latest attempt may end a request.",
		func(w *world) {
			brief, lasting := w.retried(2), terms("lasting")
			expired, stays := w.created(brief), w.created(lasting)
			c := poll(box, brief, lasting) // remembered until the later deadline
			w.claim(c)
			check := func(when string) {
				w.Helper()
				got := w.claim(c)
				if len(got[0]) != 0 || !slices.Equal(ids(got[1]), []string{stays.ID}) {
					w.Errorf("%s: got %v and %v, want only %s",
						when, ids(got[0]), ids(got[1]), stays.ID)
				}
			}
			w.untilStatus("s", expired.ID, backends.StatusPending)
			check("expired")
			brief.RunningTimeout = long
			w.popOne(brief)
			check("claimed again")
		}},

	{"a repeated claim leaves out a request that was created again under its id",
		"The claimed request has disappeared. The new one belongs to another claim.",
		func(w *world) {
			t := terms("s")
			c, first := request(t, box), poll(box, t)
			w.create(c)
			w.endBriefly(t, w.claim(first)[0][0])
			w.create(c)
			if got := w.claim(first)[0]; len(got) != 0 {
				w.Errorf("while the new request is pending: got %v", ids(got))
			}
			w.popOne(t)
			if got := w.claim(first)[0]; len(got) != 0 {
				w.Errorf("while the new request runs: got %v", ids(got))
			}
		}},

	{"a worker of an earlier request cannot change one that was created again under its id",
		"An idempotency key may be used again. The earlier worker has the same id and attempt.",
		func(w *world) {
			t := withAttempts(2)
			c := request(t, box)
			w.create(c)
			old := w.popOne(t)
			w.endBriefly(t, old)
			w.create(c)
			held := w.popOne(t)
			late := extension(t, old.ID, old.Attempt)
			late.StartedAt = old.StartedAt
			w.wantExtendError(late, backends.ErrStaleClaim)
			late.Release = true
			w.wantExtendError(late, backends.ErrStaleClaim)
			late.Release, late.Codec, late.Payload = false, "raw", []byte("late")
			w.wantExtendError(late, backends.ErrStaleClaim)
			w.wantEndError(completion(t, old), backends.ErrStaleClaim)
			checkSame(w, w.get("s", c.ID), held)

			own := late
			own.StartedAt, own.Payload = held.StartedAt, []byte("progress")
			w.renew(own)
			w.end(completion(t, held))
			for _, rec := range []backends.Record{held, old} {
				_, err := w.b.End(w.Context(), completion(t, rec))
				var ended *backends.EndedError
				if !errors.As(err, &ended) {
					w.Fatalf("a repeated End: got %v, want an EndedError", err)
				}
				isOwn := ended.Record.HasClaim(rec.Attempt, rec.StartedAt)
				if want := rec.StartedAt.Equal(held.StartedAt); isOwn != want {
					w.Errorf("the EndedError shows the own claim: %v, want %v", isOwn, want)
				}
			}
		}},

	{"a claim is remembered although its first store was empty",
		"A repeat has to find the claimed requests in any of the stores.",
		func(w *world) {
			empty, full := terms("empty"), terms("full")
			made := w.created(full)
			c := poll(box, empty, full)
			w.claim(c)
			w.created(empty)
			w.created(full)
			got := w.claim(c)
			if len(got[0]) != 0 || !slices.Equal(ids(got[1]), []string{made.ID}) {
				w.Errorf("got %v and %v, want only %s", ids(got[0]), ids(got[1]), made.ID)
			}
		}},

	{"a claim is forgotten after its latest deadline",
		"A worker that reuses a claim id must get new requests. Storage must not fill up.",
		func(w *world) {
			t := w.retried(1)
			w.created(t)
			c := poll(box, t, terms("lasting")) // which has no requests
			lost := w.claim(c)[0][0]
			w.untilStatus("s", lost.ID, backends.StatusTimeout)
			w.pass(w.short)
			made := w.created(t)
			if got := w.claim(c)[0]; !slices.Equal(ids(got), []string{made.ID}) {
				w.Errorf("got %v, want %s", ids(got), made.ID)
			}
		}},

	{"a claim that found nothing is not remembered",
		"A worker that polls with one claim id must get the first new request.",
		func(w *world) {
			t := terms("s")
			c := poll(box, t)
			w.claim(c)
			made := w.created(t)
			if got := w.claim(c)[0]; !slices.Equal(ids(got), []string{made.ID}) {
				w.Errorf("got %v, want %s", ids(got), made.ID)
			}
		}},

	{"another claim id claims on its own",
		"Two workers of one mailbox must not get each other's requests.",
		func(w *world) {
			t := terms("s")
			w.created(t)
			w.created(t)
			one, two := w.popOne(t), w.popOne(t)
			if one.ID == two.ID {
				w.Errorf("both claims got %s", one.ID)
			}
		}},

	{"a repeated extend extends",
		"A worker that lost a reply tries again at once.",
		func(w *world) {
			t := terms("s")
			made := w.created(t)
			w.popOne(t)
			for range 3 {
				w.extend(t, made.ID)
			}
			got := w.get("s", made.ID)
			if got.Attempt != 1 || got.Status != backends.StatusRunning {
				w.Errorf("got %s at attempt %d", got.Status, got.Attempt)
			}
		}},

	{"a repeated end gets the record of the first end",
		"The caller sees from the record that its first call has succeeded.",
		func(w *world) {
			t := terms("s")
			made := w.created(t)
			e := completion(t, w.popOne(t))
			e.Outcome, e.Error = backends.StatusFailed, "disk full\n\"/\" \x00 \x01 ü"
			at := w.end(e).UpdatedAt
			_, err := w.b.End(w.Context(), e)
			var ended *backends.EndedError
			if !errors.As(err, &ended) || !errors.Is(err, backends.ErrEnded) {
				w.Fatalf("got %v, want an EndedError", err)
			}
			want := w.get("s", made.ID)
			checkSame(w, ended.Record, want)
			if want.Error != e.Error || string(want.Payload) != string(e.Payload) ||
				!want.UpdatedAt.Equal(at) {
				w.Errorf("stored %s, want the error, payload and time (%v) of the first end",
					show(want), at)
			}
		}},
}

package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pendingq/pendingq/backends"
)

// manyCases are for a [backends.ManyClaimer]. Other backends skip them.
var manyCases = []testCase{
	{"many claims get the same results as single claims, in their order",
		"A node that polls for many machines must not mix up their requests.",
		func(w *world) {
			a, b := terms("a"), terms("b")
			var claims []backends.Claim
			var want [][]string // for each claim, the ids from a and b
			for i := range 4 {  // no request, one of a, one of b, both
				mailbox := fmt.Sprint("runtime-", i)
				expected := make([]string, 2)
				for place, t := range []backends.Terms{a, b} {
					if (i>>place)%2 == 1 {
						expected[place] = w.create(request(t, mailbox)).ID
					}
				}
				claims, want = append(claims, poll(mailbox, a, b)), append(want, expected)
			}
			w.checkMany(claims, want)
			w.checkMany(claims, want) // repeated
			for i, c := range claims {
				w.checkClaimed(c, w.claim(c), want[i])
			}
		}},

	{"many claims of one mailbox get different requests",
		"Several workers may share a mailbox.",
		func(w *world) {
			t := terms("s")
			var claims []backends.Claim
			for range 5 {
				w.created(t)
				claims = append(claims, poll(box, t))
			}
			got := map[string]bool{}
			for i, result := range w.manyClaimer().ClaimMany(w.Context(), claims) {
				for _, id := range ids(w.claimed(claims[i], result.Claimed, result.Err)[0]) {
					got[id] = true
				}
			}
			if len(got) != len(claims) {
				w.Errorf("got %d different requests, want %d", len(got), len(claims))
			}
		}},

	{"zero claims have zero results",
		"A node on which no machine polls must not fail.",
		func(w *world) {
			if got := w.manyClaimer().ClaimMany(w.Context(), nil); len(got) != 0 {
				w.Errorf("got %d results", len(got))
			}
		}},

	{"many claims whose context has ended do nothing",
		"A caller that has gone away must not take work with it.",
		func(w *world) {
			t := terms("s")
			w.created(t)
			ctx, cancel := context.WithCancel(w.Context())
			cancel()
			claims := []backends.Claim{poll(box, t), poll("runtime-2", t)}
			results := w.manyClaimer().ClaimMany(ctx, claims)
			if len(results) != len(claims) {
				w.Fatalf("got %d results, want %d", len(results), len(claims))
			}
			for _, result := range results {
				if !errors.Is(result.Err, context.Canceled) {
					w.Errorf("got %v, want context.Canceled", result.Err)
				}
			}
			w.popOne(t)
		}},
}

// manyClaimer returns the backend as a ManyClaimer. If the backend is not one, it skips the case.
func (w *world) manyClaimer() backends.ManyClaimer {
	w.Helper()
	return optional[backends.ManyClaimer](w)
}

// checkMany makes the claims and checks the requests of each.
func (w *world) checkMany(claims []backends.Claim, want [][]string) {
	w.Helper()
	results := w.manyClaimer().ClaimMany(w.Context(), claims)
	if len(results) != len(claims) {
		w.Fatalf("got %d results, want %d", len(results), len(claims))
	}
	for i, result := range results {
		w.checkClaimed(claims[i], w.claimed(claims[i], result.Claimed, result.Err), want[i])
	}
}

// checkClaimed checks the id of the request that a claim got from each store: "" for none.
func (w *world) checkClaimed(c backends.Claim, got [][]backends.Record, want []string) {
	w.Helper()
	for i, records := range got {
		expected := slices.DeleteFunc([]string{want[i]}, func(id string) bool { return id == "" })
		if !slices.Equal(ids(records), expected) {
			w.Errorf("%s of %s got %v, want %v", c.Mailbox, c.From[i].Store, ids(records), expected)
		}
	}
}

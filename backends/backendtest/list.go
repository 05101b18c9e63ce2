package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
)

// lister returns the backend as a Lister. If the backend is not a Lister, it skips the case.
func (w *world) lister() backends.Lister {
	w.Helper()
	return optional[backends.Lister](w)
}

// list returns the requests of all pages of a mailbox. It checks that no page is too large.
func (w *world) list(store, mailbox string, limit int) (all []backends.Record) {
	w.Helper()
	for after, pages := "", 0; ; pages++ {
		page, err := w.lister().List(w.Context(), store, mailbox, after, limit)
		if err != nil || len(page.Errs) > 0 {
			w.Fatalf("List: %v %v", err, page.Errs)
		}
		if len(page.Records) > limit || pages > 10_000 {
			w.Fatalf("page %d has %d requests, want at most %d", pages, len(page.Records), limit)
		}
		all = append(all, page.Records...)
		if after = page.Next; after == "" {
			return all
		}
	}
}

// mailboxes returns the mailboxes of a store, each once.
func (w *world) mailboxes(store string) (names []string) {
	w.Helper()
	for after, pages := "", 0; ; pages++ {
		page, err := w.lister().Mailboxes(w.Context(), store, after, 10)
		if err != nil || pages > 100_000 {
			w.Fatalf("Mailboxes, page %d: %v", pages, err)
		}
		names = append(names, page.Mailboxes...)
		if after = page.Next; after == "" {
			slices.Sort(names)
			return slices.Compact(names)
		}
	}
}

// listCases are for a [backends.Lister]. Other backends skip them.
var listCases = []testCase{
	{"a list has each live request once, as Get shows it",
		"An operator must find every live request, and see its real status.",
		func(w *world) {
			w.lister()
			t := w.retried(2)
			lasting := terms("s")
			want := map[string]bool{}
			for range 3 {
				want[w.created(lasting).ID] = true // pending
			}
			w.cancel(cancelled(lasting, w.popOne(lasting), long/2))
			w.popOne(lasting)
			want[w.untilStatus("s", w.popOne(t).ID, backends.StatusPending).ID] = true // expired
			large := request(lasting, box)
			large.Payload = make([]byte, 100_000)
			large.Headers = map[string]string{"a": "b"}
			want[w.create(large).ID] = true
			ended := w.created(lasting)
			w.end(completion(lasting, ended))
			brief := lasting
			brief.PendingTimeout = w.short
			w.untilStatus("s", w.created(brief).ID, backends.StatusTimeout)
			w.create(request(terms("other"), box))
			w.create(request(lasting, "another mailbox"))
			for _, limit := range []int{1, 2, 100} {
				seen := map[string]bool{}
				for _, rec := range w.list("s", box, limit) {
					if seen[rec.ID] || !want[rec.ID] {
						w.Errorf("limit %d: %s comes twice, or is not live", limit, rec.ID)
					}
					seen[rec.ID] = true
					checkSame(w, rec, w.get("s", rec.ID))
				}
				if len(seen) != len(want) {
					w.Errorf("limit %d: got %d requests, want %d", limit, len(seen), len(want))
				}
			}
		}},

	{"a list has each of many requests that were claimed at once",
		"Their deadlines are equal, and a page may end between two of them.",
		func(w *world) {
			w.lister()
			t := terms("s")
			const n = 150
			for range n {
				w.created(t)
			}
			w.pop(t, 100)
			for _, limit := range []int{1, 7, 100} {
				got := ids(w.list("s", box, limit))
				slices.Sort(got)
				if len(slices.Compact(got)) != n {
					w.Errorf("limit %d: got %d requests, want %d", limit, len(got), n)
				}
			}
		}},

	{"a list of mailboxes has each with live requests",
		"An operator wants to see where work piles up.",
		func(w *world) {
			w.lister()
			t := terms("s")
			want := slices.Clone(hostileMailboxes)
			for i := range 50 {
				want = append(want, fmt.Sprint("runtime-", i))
			}
			for _, mailbox := range want {
				w.create(request(t, mailbox))
				w.create(request(terms("s2"), mailbox[:min(len(mailbox), 511)]+"2"))
			}
			slices.Sort(want)
			if got := w.mailboxes("s"); !slices.Equal(got, want) {
				w.Errorf("got  %q\nwant %q", got, want)
			}
			if got := w.mailboxes("none"); len(got) > 0 {
				w.Errorf("got the mailboxes %q of a store without requests", got)
			}
			if got := w.list("s", strings.Repeat("z", 512), 100); len(got) > 0 {
				w.Errorf("got %d requests of a mailbox without requests", len(got))
			}
		}},

	{"a page after nothing known is an invalid argument, or some page",
		"A link that somebody has edited must not look like a failure of the backend.",
		func(w *world) {
			l := w.lister()
			w.create(request(terms("s"), "m"))
			for _, after := range []string{"x", " ", "1 2", "nan x", "\x00", "9 \xff", "é é",
				"9000000000000000000 " + backends.NewID("m"),
				"-1152921504606846976 " + backends.NewID("m")} {
				_, listed := l.List(w.Context(), "s", "m", after, 10)
				_, named := l.Mailboxes(w.Context(), "s", after, 10)
				for _, err := range []error{listed, named} {
					if err != nil && !errors.Is(err, check.ErrInvalid) {
						w.Errorf("after %q: got %v, want ErrInvalid or none", after, err)
					}
				}
			}
		}},
}

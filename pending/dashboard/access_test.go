package dashboard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/unsent/unsenttest"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

// bob sees neither the store "others" nor the mailbox "secret".
func bob(_ *http.Request, _ dashboard.Action, store, mailbox string) (who string, allowed bool) {
	return "bob", store != "others" && mailbox != "secret"
}

// The answer for a hidden page and for a missing page must not differ by a single byte.
func TestAHiddenPageLooksLikeAMissingPage(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = bob })
	hidden, seen := w.create("secret"), w.create(box)
	missing := w.ask(httptest.NewRequest("GET", "/nonsense", nil))
	if missing.Code != http.StatusNotFound {
		t.Fatalf("a missing page: %d, want 404", missing.Code)
	}
	for _, path := range []string{
		requestPage(hidden),
		page("request", "store", "jobs", "id", backends.NewID(box)),
		page("request", "store", "others", "id", seen.ID),
		page("request", "store", "nonsense", "id", seen.ID),
		page("request", "store", "jobs", "id", "nonsense"),
		page("cancel", "store", "jobs", "id", hidden.ID),
		page("mailbox", "store", "jobs", "name", "secret"),
		page("mailbox", "store", "others", "name", box),
		page("mailbox", "store", "jobs", "name", strings.Repeat("x", 513)),
		page("events", "page", "request", "store", "jobs", "id", hidden.ID),
		page("events", "page", "nonsense"),
		"/?store=others", "/?store=nonsense",
	} {
		got := w.ask(httptest.NewRequest("GET", path, nil))
		diff := cmp.Diff(got.Body.String(), missing.Body.String())
		if diff != "" || got.Code != missing.Code {
			t.Errorf("GET %s: %d\n%s", path, got.Code, diff)
		}
		if diff := cmp.Diff(got.Header(), missing.Header()); diff != "" {
			t.Errorf("GET %s: headers: got - want +\n%s", path, diff)
		}
	}
	got := w.post(hidden)
	if got.Body.String() != missing.Body.String() || got.Code != missing.Code {
		t.Errorf("POST cancel: %d", got.Code)
	}
}

func TestTheOverviewAndASearchHideMailboxes(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = bob })
	hidden := w.create("secret")
	w.create(box)
	for _, path := range w.places(t) {
		w.hides(w.get(path), "secret", "others")
	}
	found := w.get(page("search", "q", hidden.ID))
	missing := w.get(page("search", "q", backends.NewID("secret")))
	if len(found) != len(missing) {
		t.Errorf("a search reveals that the request exists:\n%s", found)
	}
	w.hides(w.get(page("search", "q", "secret")), "data-key")
}

// crowded is a world with so many mailboxes that cursors of the backend have their names.
func crowded(t *testing.T, change func(*world)) *world {
	w := inMemory(t, change)
	for i := range 4000 {
		w.create(fmt.Sprint("tenant-b-", i))
	}
	return w
}

func TestLinksOfTheOverviewHaveNoHiddenName(t *testing.T) {
	w := crowded(t, func(w *world) {
		w.config.Access = func(
			_ *http.Request, _ dashboard.Action, _, mailbox string) (who string, allowed bool) {
			return "alice", !strings.HasPrefix(mailbox, "tenant-b")
		}
	})
	paths := w.places(t)
	if len(paths) < 3 {
		t.Errorf("the overview has %d pages", len(paths))
	}
	for _, path := range paths {
		w.hides(w.get(path), "tenant-b")
	}
}

func TestNobodySeesAnythingWithoutTheOverview(t *testing.T) {
	w := inMemory(t, func(w *world) {
		w.config.Access = func(*http.Request, dashboard.Action, string, string) (string, bool) {
			return "", false
		}
	})
	if got := w.ask(httptest.NewRequest("GET", "/", nil)); got.Code != http.StatusNotFound {
		t.Errorf("the overview: %d, want 404", got.Code)
	}
}

func TestTheDefaultIsReadOnly(t *testing.T) {
	w := inMemory(t, nil)
	r := w.create(box)
	w.hides(w.get(requestPage(r)), "Cancel this request")
	path := page("cancel", "store", "jobs", "id", r.ID)
	if got := w.ask(httptest.NewRequest("GET", path, nil)); got.Code != http.StatusNotFound {
		t.Errorf("the page that asks for a reason: %d, want 404", got.Code)
	}
	if got := w.post(r); got.Code != http.StatusNotFound {
		t.Errorf("the cancel: %d, want 404", got.Code)
	}
	if got := w.status(r); got != pending.StatusPending {
		t.Errorf("the request is %s", got)
	}
}

func TestACancelEndsTheRequestAndSaysWho(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = everything })
	r := w.create(box)
	w.shows(w.get(requestPage(r)), "Cancel this request")
	w.shows(w.get(page("cancel", "store", "jobs", "id", r.ID)), "It ends at once", box, "Reason")
	answer := w.post(r)
	want := "./request?id=" + r.ID + "&store=jobs"
	if got := answer.Header().Get("Location"); answer.Code != http.StatusSeeOther || got != want {
		t.Errorf("%d to %q, want 303 to %q", answer.Code, got, want)
	}
	w.shows(w.get(requestPage(r)), "cancelled", "on call")
	w.shows(w.log.String(), "dashboard: cancel", "who=alice", "request.id="+r.ID,
		`reason="on call"`)
	if lines := strings.Count(w.log.String(), "\n"); lines != 1 {
		t.Errorf("the log has %d lines, want 1", lines)
	}
}

func TestACancelOfARunningRequestLeavesTheGrace(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = everything })
	r := w.create(box)
	c := w.pop(box)
	w.shows(w.get(page("cancel", "store", "jobs", "id", r.ID)),
		"Its worker is told to stop, and has at most 30 s")
	w.post(r)
	again := w.get(page("cancel", "store", "jobs", "id", r.ID))
	w.shows(again, "A cancel was requested already: on call. The worker may still end")
	w.hides(again, "<textarea")
	w.must(w.jobs.Extend(t.Context(), c))
	if !c.CancelRequested || c.CancelReason != "on call" {
		t.Errorf("the worker got CancelRequested %t and reason %q, want true and %q",
			c.CancelRequested, c.CancelReason, "on call")
	}
	w.must(w.jobs.Complete(t.Context(), c))
	if answer := w.post(r); answer.Code != http.StatusSeeOther {
		t.Errorf("a cancel of an ended request: %d, want 303 to its page", answer.Code)
	}
	w.shows(w.get(page("cancel", "store", "jobs", "id", r.ID)), "It has ended already")
}

func TestAnotherSiteCannotCancel(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = everything })
	r := w.create(box)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		if got := w.post(r, headers...); got.Code != http.StatusForbidden {
			t.Errorf("%q: %d, want 403", headers, got.Code)
		}
	}
	path := page("cancel", "store", "jobs", "id", r.ID, "reason", "x")
	w.ask(httptest.NewRequest("GET", path, nil))
	if got := w.status(r); got != pending.StatusPending || w.log.Len() > 0 {
		t.Errorf("the request is %s; the log: %s", got, w.log)
	}
}

func TestAHugeFormIsRefused(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = everything })
	r := w.create(box)
	body := "store=jobs&id=" + r.ID + "&reason=" + strings.Repeat("x", 1<<20)
	post := httptest.NewRequest("POST", "/cancel", strings.NewReader(body))
	post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got := w.ask(post); got.Code != http.StatusNotFound {
		t.Errorf("%d, want 404", got.Code)
	}
	if got := w.status(r); got != pending.StatusPending {
		t.Errorf("the request is %s", got)
	}
}

func TestACancelKeepsItsWholeReason(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = everything })
	for reason, want := range map[string]int{"": 400, " \n": 400, strings.Repeat("ж", 400): 303} {
		r := w.create(box)
		form := url.Values{"store": {"jobs"}, "id": {r.ID}, "reason": {reason}}
		post := httptest.NewRequest("POST", "/cancel", strings.NewReader(form.Encode()))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if answer := w.ask(post); answer.Code != want {
			t.Errorf("%q: %d, want %d", reason, answer.Code, want)
		}
		now, err := w.jobs.Get(t.Context(), r.ID)
		w.must(err)
		if cancelled := now.Status == pending.StatusCancelled; cancelled != (want == 303) ||
			cancelled && now.Error != reason {
			t.Errorf("%q: the request is %s: %q", reason, now.Status, now.Error)
		}
	}
}

// Otherwise net/http waits for the body before it answers.
func TestABodyHasADeadline(t *testing.T) {
	w := inMemory(t, nil)
	for _, path := range []string{"/", "/nonsense", "/cancel"} {
		d := unsenttest.NewRecorder()
		w.dashboard.ServeHTTP(d, httptest.NewRequest("POST", path, strings.NewReader("body")))
		if d.ReadBy.IsZero() {
			t.Errorf("POST %s: no deadline", path)
		}
	}
}

// Some proxies add an empty body to a GET.
func TestALivePageKeepsNoDeadlineOfItsBody(t *testing.T) {
	w := inMemory(t, nil)
	w.create(box)
	c := w.pop(box)
	w.must(w.jobs.Complete(t.Context(), c))
	d := unsenttest.NewRecorder()
	r := httptest.NewRequest("GET", page("events", "page", "request", "store", "jobs", "id", c.ID),
		strings.NewReader("body"))
	if w.dashboard.ServeHTTP(d, r); d.Code != http.StatusOK || !d.ReadBy.IsZero() {
		t.Errorf("got %d, read deadline %v", d.Code, d.ReadBy)
	}
}

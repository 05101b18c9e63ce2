package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

func TestTheOverviewShowsStoresAndMailboxes(t *testing.T) {
	w := inMemory(t, nil)
	w.shows(w.get("/"), "jobs", "others", "Mailboxes with live requests in jobs")
	w.shows(w.get("/?store=others"), "Nothing is pending and nothing runs")
	w.create(box)
	w.create(box)
	w.pop(box)
	for _, path := range w.places(t) {
		if text := w.get(path); strings.Contains(text, box) {
			w.shows(text, `data-label="Waiting">1<`, `data-label="Running">1<`)
			return
		}
	}
	t.Error("no page of the overview has the mailbox")
}

// places follows the links to the next page of the overview. It returns the address of each page.
func (w *world) places(t *testing.T) (paths []string) {
	for path := "/"; path != "" && len(paths) < 100; {
		paths = append(paths, path)
		_, rest, found := strings.Cut(w.get(path), `<a href=".`)
		path = ""
		for found {
			var target string
			target, rest, _ = strings.Cut(rest, `"`)
			if strings.HasPrefix(rest, ` rel="next"`) {
				path = target
			}
			_, rest, found = strings.Cut(rest, `<a href=".`)
		}
	}
	return paths
}

func TestTheOverviewShowsEachMailboxOnceOverItsPages(t *testing.T) {
	w := inMemory(t, nil)
	const mailboxes = 130
	for i := range mailboxes {
		w.create(fmt.Sprintf("device-%03d", i))
	}
	seen := map[string]int{}
	for _, path := range w.places(t) {
		text := w.get(path)
		if rows := strings.Count(text, `data-key="jobs device-`); rows > 25 {
			t.Errorf("%s has %d mailboxes", path, rows)
		}
		for i := range mailboxes {
			name := fmt.Sprintf("device-%03d", i)
			seen[name] += strings.Count(text, `data-key="jobs `+name+`"`)
		}
	}
	for name, times := range seen {
		if times != 1 {
			t.Errorf("%s is listed %d times", name, times)
		}
	}
}

func TestAMailboxShowsItsLiveRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		first := w.create(box)
		<-time.After(10 * time.Second)
		second := w.create(box)
		w.pop(box)
		<-time.After(20 * time.Second)
		text := w.get(page("mailbox", "store", "jobs", "name", box))
		w.shows(text, first.ID, second.ID, "running", "pending", ">30 s<", ">20 s<", ">40 s<",
			">1 min 40 s<")
		if strings.Index(text, first.ID) > strings.Index(text, second.ID) {
			t.Error("the oldest request is not the first")
		}
		w.shows(w.get(page("mailbox", "store", "jobs", "name", "nobody")), "has no live requests")
	})
}

func TestARequestShowsItsStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		r := w.create(box)
		w.shows(w.get(requestPage(r)), "Nobody yet", "None yet", "Times out unless a worker claims it")
		<-time.After(5 * time.Second)
		c := w.pop(box)
		w.shows(w.get(requestPage(r)), "A worker of this mailbox holds it", "1 of 2",
			"Claimed, attempt 1", "The lease expires, and another claim may follow")
		<-time.After(time.Second)
		w.must(w.jobs.Extend(t.Context(), c))
		w.shows(w.get(requestPage(r)), "The worker's last sign of life")
		<-time.After(121 * time.Second)
		w.shows(w.get(requestPage(r)), "retrying", "Released, or its lease expired")
		c = w.pop(box)
		w.must(w.jobs.Cancel(t.Context(), r, "no longer needed"))
		w.shows(w.get(requestPage(r)), "stopping", "Cancel requested: no longer needed")
		w.must(w.jobs.Fail(t.Context(), c, "no disk"))
		w.shows(w.get(requestPage(r)), "failed", "no disk", "Nobody holds it", "2 min 07 s")
	})
}

func TestPayloadsAndHeadersAreHiddenUnlessAllowed(t *testing.T) {
	w := inMemory(t, nil)
	text := w.get(requestPage(w.create(box)))
	w.hides(text, "hunter2", "reboot", "seven")
	w.shows(text, "You may not see payloads")

	w = inMemory(t, func(w *world) { w.config.Access = everything })
	text = w.get(requestPage(w.create(box)))
	w.hides(text, "hunter2", "reboot")
	w.shows(text, "not configured to show payloads", "seven")

	w = inMemory(t, func(w *world) {
		w.config.Access = everything
		w.config.Stores[0].Payload = dashboard.Show(w.jobs, func(j job) any {
			j.Secret = "(hidden)"
			return j
		})
	})
	text = w.get(requestPage(w.create(box)))
	w.hides(text, "hunter2")
	w.shows(text, `"Command": "reboot"`, "(hidden)")
}

func TestAPayloadThatCannotBeReadDoesNotShowItsError(t *testing.T) {
	w := inMemory(t, func(w *world) {
		w.config.Access = everything
		w.config.Stores[0].Payload = func(context.Context, string) (any, error) {
			return nil, errors.New("cannot decode hunter2")
		}
	})
	text := w.get(requestPage(w.create(box)))
	w.hides(text, "hunter2")
	w.shows(text, "The payload cannot be read")
}

func TestSearchFindsRequestsAndMailboxes(t *testing.T) {
	w := inMemory(t, nil)
	r := w.create(box)
	w.shows(w.get(page("search", "q", " "+r.ID+" ")), "Timeline", r.ID)
	w.shows(w.get(page("search", "q", box)), `data-label="Waiting">1<`)
	w.shows(w.get(page("search", "q", "nobody")),
		"Nothing that you can see matches <bdi><strong>nobody")
	w.shows(w.get(page("search", "q", backends.NewID(box))), "Nothing that you can see matches")
	w.shows(w.get("/search"), "Type the name of a mailbox")
}

// What a person may not see must not differ from what is not there by a single byte.
func TestWhatOneMayNotSeeIsNotThere(t *testing.T) {
	w := inMemory(t, func(w *world) {
		w.config.Access = func(_ *http.Request, _ dashboard.Action, store, mailbox string) (
			string, bool) {
			return "bob", store != "others" && mailbox != "secret"
		}
	})
	hidden, seen := w.create("secret"), w.create(box)
	want := w.ask(httptest.NewRequest("GET", "/nonsense", nil))
	if want.Code != http.StatusNotFound {
		t.Fatalf("what is not there: %d", want.Code)
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
		diff := cmp.Diff(got.Body.String(), want.Body.String())
		if diff != "" || got.Code != want.Code {
			t.Errorf("GET %s: %d\n%s", path, got.Code, diff)
		}
		if diff := cmp.Diff(got.Header(), want.Header()); diff != "" {
			t.Errorf("GET %s: headers: got - want +\n%s", path, diff)
		}
	}
	if got := w.post(hidden); got.Body.String() != want.Body.String() || got.Code != want.Code {
		t.Errorf("POST cancel: %d", got.Code)
	}
	for _, path := range w.places(t) {
		w.hides(w.get(path), "secret", "others")
	}
	found := w.get(page("search", "q", hidden.ID))
	missing := w.get(page("search", "q", backends.NewID("secret")))
	if len(found) != len(missing) {
		t.Errorf("a search tells that the request is there:\n%s", found)
	}
	w.hides(w.get(page("search", "q", "secret")), "data-key")
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
		t.Errorf("the page that confirms: %d, want 404", got.Code)
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
		t.Errorf("%d lines in the log, want 1", lines)
	}
}

func TestACancelOfARunningRequestLeavesTheGrace(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Access = everything })
	r := w.create(box)
	c := w.pop(box)
	w.shows(w.get(page("cancel", "store", "jobs", "id", r.ID)),
		"Its worker is told to stop, and has 30 s")
	w.post(r)
	w.must(w.jobs.Extend(t.Context(), c))
	if !c.CancelRequested || c.CancelReason != "on call" {
		t.Errorf("the worker was told %t, %q", c.CancelRequested, c.CancelReason)
	}
	w.must(w.jobs.Complete(t.Context(), c))
	if answer := w.post(r); answer.Code != http.StatusSeeOther {
		t.Errorf("a cancel of what has ended: %d, want 303 to its page", answer.Code)
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
	get := httptest.NewRequest("GET", page("cancel", "store", "jobs", "id", r.ID, "reason", "x"), nil)
	w.ask(get)
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

func TestItWorksUnderAnyPrefix(t *testing.T) {
	w := inMemory(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/ops/queue/", w.dashboard)
	mux.Handle("/stripped/", http.StripPrefix("/stripped", w.dashboard))
	for _, prefix := range []string{"/ops/queue", "/stripped"} {
		for _, name := range []string{"/", "/style.css", "/live.js", "/icon.svg", "/search?q=x"} {
			answer := httptest.NewRecorder()
			mux.ServeHTTP(answer, httptest.NewRequest("GET", prefix+name, nil))
			if answer.Code != http.StatusOK {
				t.Errorf("%s%s: %d", prefix, name, answer.Code)
			}
		}
	}
	w.hides(w.get("/"), `href="/`, `src="/`, `action="/`, "http://", "https://")
}

func TestHeadersForbidWhatIsNotNeeded(t *testing.T) {
	w := inMemory(t, nil)
	for _, path := range []string{"/", "/style.css", "/nonsense"} {
		h := w.ask(httptest.NewRequest("GET", path, nil)).Header()
		policy := h.Get("Content-Security-Policy")
		w.shows(policy, "default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'")
		w.hides(policy, "unsafe", "*", "data:")
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestNamesAndTextsAreEscaped(t *testing.T) {
	w := inMemory(t, func(w *world) {
		w.config.Access = everything
		w.config.Stores[0].Payload = dashboard.Show(w.jobs, nil)
	})
	const evil = `"><script>alert(1)</script>`
	names := []string{evil, "a/../b?c#d&e", "nul\x00", "tur\u202Ened", " spaces "}
	for _, name := range names {
		r, err := w.jobs.Create(t.Context(), name, job{Command: evil},
			pending.WithHeaders(map[string]string{evil: evil}))
		w.must(err)
		c := w.pop(name)
		path := page("mailbox", "store", "jobs", "name", name)
		for _, p := range []string{path, requestPage(r), page("search", "q", name)} {
			answer := w.ask(httptest.NewRequest("GET", p, nil))
			if answer.Code != http.StatusOK {
				t.Errorf("GET %s: %d", p, answer.Code)
			}
			w.hides(answer.Body.String(), "<script>alert", "\x00", ">tur\u202E")
		}
		w.must(w.jobs.Fail(t.Context(), c, evil))
		w.hides(w.ask(httptest.NewRequest("GET", requestPage(r), nil)).Body.String(), "<script>alert")
	}
	w.shows(w.get(page("mailbox", "store", "jobs", "name", "nul\x00")), `nul\u{0}`)
	w.shows(w.get(page("mailbox", "store", "jobs", "name", "tur\u202Ened")), `tur\u{202e}ned`)
}

// broken fails or hangs in each List.
type broken struct {
	*memory.Backend
	err error
}

func (b broken) List(ctx context.Context, _, _, _ string, _ int) (backends.Page, error) {
	if b.err == nil {
		<-ctx.Done()
		return backends.Page{}, ctx.Err()
	}
	return backends.Page{}, b.err
}

func TestABackendThatFailsIsSaidInWords(t *testing.T) {
	mailbox := page("mailbox", "store", "jobs", "name", box)
	w := newWorld(t, broken{memory.New(), errors.New("dial tcp 10.0.0.7: refused")}, nil)
	answer := w.ask(httptest.NewRequest("GET", mailbox, nil))
	w.shows(answer.Body.String(), "The backend failed")
	w.hides(answer.Body.String(), "10.0.0.7")
	w.shows(w.log.String(), "10.0.0.7")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, broken{memory.New(), nil}, nil)
		start := time.Now()
		answer := w.ask(httptest.NewRequest("GET", mailbox, nil))
		w.shows(answer.Body.String(), "did not answer in time")
		if took := time.Since(start); took != 3*time.Second || answer.Code != 503 {
			t.Errorf("%d after %v, want 503 after 3 s", answer.Code, took)
		}
	})
}

func TestABadConfigIsAnError(t *testing.T) {
	bare := struct{ backends.Backend }{memory.New()}
	stores := []dashboard.Store{{Policy: policy("jobs")}}
	for name, err := range map[string]error{
		"no stores":     refuses(memory.New(), dashboard.Config{}),
		"two of a name": refuses(memory.New(), dashboard.Config{Stores: append(stores, stores...)}),
		"a bad policy":  refuses(memory.New(), dashboard.Config{Stores: make([]dashboard.Store, 1)}),
		"negative":      refuses(memory.New(), dashboard.Config{Stores: stores, Timeout: -1}),
		"no Lister":     refuses(bare, dashboard.Config{Stores: stores}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func refuses(b backends.Backend, c dashboard.Config) error {
	_, err := dashboard.New(b, c)
	return err
}

func TestTheOverviewShowsWhatThisNodeDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observed := dashboard.Observe(memory.New())
		w := newWorld(t, observed, nil)
		for range 3 {
			w.create(box)
		}
		w.must(w.jobs.Complete(t.Context(), w.pop(box)))
		w.shows(w.get("/"), `data-label="Created">3<`, `data-label="Claimed">1<`,
			`data-label="Ended">1<`, `data-label="Failed">0<`)
		<-time.After(59 * time.Second)
		if got := observed.Figures("jobs").Created; got != 3 {
			t.Errorf("%d created in the last minute, want 3", got)
		}
		<-time.After(2 * time.Second)
		if diff := cmp.Diff(observed.Figures("jobs"), dashboard.Figures{}); diff != "" {
			t.Errorf("a minute later: got - want +\n%s", diff)
		}
	})
}

// slowly takes its time for each Get, or fails.
type slowly struct {
	*memory.Backend
	took *time.Duration
}

func (b slowly) Get(context.Context, string, string) (backends.Record, error) {
	<-time.After(*b.took)
	return backends.Record{}, errors.New("the engine is away")
}

func TestFiguresHaveLatenciesAndFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		b := dashboard.Observe(slowly{memory.New(), &took})
		for i := range 100 {
			took = time.Millisecond
			if i >= 98 {
				took = 100 * time.Millisecond
			}
			_, _ = b.Get(t.Context(), "jobs", backends.NewID(box))
		}
		want := dashboard.Figures{Failed: 100, P50: 1024 * time.Microsecond,
			P99: 131072 * time.Microsecond}
		if diff := cmp.Diff(b.Figures("jobs"), want); diff != "" {
			t.Errorf("got - want +\n%s", diff)
		}
	})
}

func TestDurationsOfAPolicyAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Minute: ">1 min<", 150 * time.Second: ">2 min 30 s<", time.Hour: ">1 h<",
		48 * time.Hour: ">2 d<", 90 * time.Minute: ">1 h 30 min<", 500 * time.Millisecond: ">500ms<",
		time.Hour + time.Second: ">1 h 00 min<",
	} {
		w := inMemory(t, func(w *world) { w.config.Stores[0].Policy.PendingTimeout = d })
		w.shows(w.get("/"), `data-label="May wait"`+want)
	}
}

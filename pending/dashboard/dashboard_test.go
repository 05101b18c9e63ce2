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

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

// On the fake clock, no page runs out of time to gather mailboxes.
func TestTheOverviewShowsStoresAndMailboxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		w.shows(w.get("/"), "jobs", "others", "Mailboxes with live requests in jobs")
		w.shows(w.get("/?store=others"), "Nothing is pending and nothing runs")
		w.create(box)
		w.create(box)
		w.pop(box)
		for _, path := range w.places(t) {
			if text := w.get(path); strings.Contains(text, box) {
				w.shows(text, `data-label="Pending">1<`, `data-label="Running">1<`)
				return
			}
		}
		t.Error("no page of the overview has the mailbox")
	})
}

// places follows the links to the next page of the overview. It returns the address of each page.
func (w *world) places(t *testing.T) (paths []string) {
	for path := "/"; path != "" && len(paths) < 100; path = nextPage(w.get(path)) {
		paths = append(paths, path)
	}
	return paths
}

// nextPage returns the address of the next page, or "".
func nextPage(text string) string {
	before, _, found := strings.Cut(text, `" rel="next"`)
	if !found {
		return ""
	}
	return before[strings.LastIndex(before, `<a href=".`)+len(`<a href=".`):]
}

// A page of the backend has shorter pages when mailboxes that were shown have ended.
func TestNoMailboxIsSkippedWhenOthersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		live := map[string]*pending.Request[job]{}
		for i := range 130 {
			name := fmt.Sprintf("device-%03d", i)
			live[name] = w.create(name)
		}
		for path := "/"; path != ""; {
			text := w.get(path)
			for name, r := range live {
				if strings.Contains(text, `data-key="jobs `+name+`"`) {
					w.must(w.jobs.Cancel(t.Context(), r, ""))
					delete(live, name)
				}
			}
			path = nextPage(text)
		}
		if len(live) > 0 {
			t.Errorf("%d mailboxes are on no page", len(live))
		}
	})
}

func TestHiddenMailboxesTakeNoPlaceOnThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, func(w *world) {
			w.config.Access = func(
				_ *http.Request, _ dashboard.Action, _, mailbox string) (string, bool) {
				return "carol", mailbox == "" || mailbox == box
			}
		})
		w.create(box)
		for i := range 1000 {
			w.create(fmt.Sprint("hidden-", i))
		}
		text := w.get("/")
		w.shows(text, `data-key="jobs `+box)
		w.hides(text, "hidden", `rel="next"`)
	})
}

func TestAMailboxWithManyRequestsComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		w.create("oldest")
		<-time.After(10 * time.Second)
		for range 11 {
			w.create("crowded")
		}
		text := w.get("/")
		w.shows(text, `data-label="Pending">10+<`, "at least <time")
		if strings.Index(text, `"jobs crowded"`) > strings.Index(text, `"jobs oldest"`) {
			t.Error("the mailbox with more requests than were read is not the first")
		}
	})
}

func TestTheOverviewShowsEachMailboxOnceOverItsPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		const mailboxes = 130
		for i := range mailboxes {
			w.create(fmt.Sprintf("device-%03d", i))
		}
		seen := map[string]int{}
		for _, path := range w.places(t) {
			text := w.get(path)
			if rows := strings.Count(text, `data-key="jobs device-`); rows > 49 {
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
	})
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

func TestARequestShowsItsTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		r := w.create(box)
		w.shows(w.get(requestPage(r)), "Nobody yet", "None yet",
			"Times out unless a worker claims it")
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
	w.shows(w.get(page("search", "q", box)), `data-label="Pending">1<`)
	w.shows(w.get(page("search", "q", "nobody")),
		"No request or mailbox that you may see matches <bdi><strong>nobody")
	w.shows(w.get(page("search", "q", backends.NewID(box))), "that you may see matches")
	w.shows(w.get("/search"), "Type the name of a mailbox")
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

func TestHeadersRestrictTheBrowser(t *testing.T) {
	w := inMemory(t, nil)
	for _, path := range []string{"/", "/style.css", "/nonsense"} {
		h := w.ask(httptest.NewRequest("GET", path, nil)).Header()
		policy := h.Get("Content-Security-Policy")
		w.shows(policy, "default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'")
		w.hides(policy, "unsafe", "*", "data:")
		if h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Referrer-Policy") != "same-origin" {
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
		answer := w.ask(httptest.NewRequest("GET", requestPage(r), nil))
		w.hides(answer.Body.String(), "<script>alert")
	}
	w.shows(w.get(page("mailbox", "store", "jobs", "name", "nul\x00")), `nul\u{0}`)
	w.shows(w.get(page("mailbox", "store", "jobs", "name", "tur\u202Ened")), `tur\u{202e}ned`)
}

// broken is a backend whose List fails with err. If err is nil, List blocks until its context ends.
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

func TestThePageSaysThatTheBackendFails(t *testing.T) {
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
	b, bare := memory.New(), struct{ backends.Backend }{memory.New()}
	stores := []dashboard.Store{{Policy: policy("jobs")}}
	for name, c := range map[string]struct {
		backends.Backend
		dashboard.Config
	}{
		"no stores":         {b, dashboard.Config{}},
		"a store twice":     {b, dashboard.Config{Stores: append(stores, stores...)}},
		"a bad policy":      {b, dashboard.Config{Stores: make([]dashboard.Store, 1)}},
		"negative Timeout":  {b, dashboard.Config{Stores: stores, Timeout: -1}},
		"a short CursorKey": {b, dashboard.Config{Stores: stores, CursorKey: []byte("short")}},
		"no Lister":         {bare, dashboard.Config{Stores: stores}},
	} {
		if _, err := dashboard.New(c.Backend, c.Config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDurationsOfAPolicyAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		500 * time.Millisecond:  ">500ms<",
		time.Minute:             ">1 min<",
		150 * time.Second:       ">2 min 30 s<",
		time.Hour:               ">1 h<",
		time.Hour + time.Second: ">1 h 00 min<",
		90 * time.Minute:        ">1 h 30 min<",
		48 * time.Hour:          ">2 d<",
	} {
		w := inMemory(t, func(w *world) { w.config.Stores[0].Policy.PendingTimeout = d })
		w.shows(w.get("/"), `data-label="Pending timeout"`+want)
	}
}

package dashboard_test

import (
	"bytes"
	"context"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const box = "runtime-1"

type job struct{ Command, Secret string }

func policy(name string) pending.Policy {
	return pending.Policy{Name: name, PendingTimeout: time.Minute, RunningTimeout: 2 * time.Minute,
		Retention: time.Hour, MaxAttempts: 2, CancelGrace: 30 * time.Second}
}

// world is a dashboard of two stores over a backend.
type world struct {
	*testing.T
	backend   backends.Backend
	jobs      *pending.PendingStore[job]
	config    dashboard.Config
	dashboard *dashboard.Dashboard
	log       *bytes.Buffer
}

// newWorld makes a world over b. Change changes the config.
func newWorld(t *testing.T, b backends.Backend, change func(*world)) *world {
	t.Helper()
	w := &world{T: t, backend: b, log: &bytes.Buffer{}}
	var err error
	w.jobs, err = pending.New(b, codec.JSON[job](), policy("jobs"))
	w.must(err)
	w.config = dashboard.Config{Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		Stores: []dashboard.Store{{Policy: policy("jobs")}, {Policy: policy("others")}}}
	if change != nil {
		change(w)
	}
	w.dashboard, err = dashboard.New(b, w.config)
	w.must(err)
	t.Cleanup(w.dashboard.Drain)
	return w
}

func inMemory(t *testing.T, change func(*world)) *world { return newWorld(t, memory.New(), change) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) create(mailbox string) *pending.Request[job] {
	w.Helper()
	r, err := w.jobs.Create(context.Background(), mailbox,
		job{Command: "reboot", Secret: "hunter2"},
		pending.WithHeaders(map[string]string{"tenant": "seven"}))
	w.must(err)
	return r
}

func (w *world) pop(mailbox string) *pending.Claim[job] {
	w.Helper()
	c, err := w.jobs.PopPending(context.Background(), mailbox)
	w.must(err)
	return c
}

// ask sends a request to the dashboard.
func (w *world) ask(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	w.dashboard.ServeHTTP(answer, r)
	return answer
}

// get returns the text of a page. The page must exist.
func (w *world) get(path string) string {
	w.Helper()
	answer := w.ask(httptest.NewRequest("GET", path, nil))
	if answer.Code != http.StatusOK {
		w.Fatalf("GET %s: %d, want 200", path, answer.Code)
	}
	return html.UnescapeString(answer.Body.String())
}

// post sends the form of a cancel, as a browser does.
func (w *world) post(r *pending.Request[job], headers ...string) *httptest.ResponseRecorder {
	form := url.Values{"store": {"jobs"}, "id": {r.ID}, "reason": {"on call"}}
	post := httptest.NewRequest("POST", "/cancel", strings.NewReader(form.Encode()))
	post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	post.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		post.Header.Set(headers[i], headers[i+1])
	}
	return w.ask(post)
}

func (w *world) status(r *pending.Request[job]) pending.Status {
	w.Helper()
	now, err := w.jobs.Get(context.Background(), r.ID)
	w.must(err)
	return now.Status
}

func page(name string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "/" + name + "?" + q.Encode()
}

func requestPage(r *pending.Request[job]) string {
	return page("request", "store", "jobs", "id", r.ID)
}

// shows checks that a page has all of these texts.
func (w *world) shows(text string, wanted ...string) {
	w.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			w.Errorf("the page does not show %q:\n%s", want, text)
		}
	}
}

// hides checks that a page has none of these texts.
func (w *world) hides(text string, unwanted ...string) {
	w.Helper()
	for _, secret := range unwanted {
		if strings.Contains(text, secret) {
			w.Errorf("the page shows %q", secret)
		}
	}
}

// everything is an Access that allows everything.
func everything(*http.Request, dashboard.Action, string, string) (string, bool) {
	return "alice", true
}

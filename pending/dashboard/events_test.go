package dashboard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

// serve serves the dashboard on loopback until the test ends.
func (w *world) serve() string {
	server := httptest.NewServer(w.dashboard)
	w.Cleanup(func() {
		w.dashboard.Drain()
		server.Close()
	})
	return server.URL
}

// events connects to the events of a page. Next returns the name and the data of the next event
// that is not "still", or "" at the end.
func (w *world) events(base, path string) (next func() (name, data string), leave func()) {
	w.Helper()
	ctx, leave := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", base+path, nil)
	w.must(err)
	transport := &http.Transport{}
	answer, err := transport.RoundTrip(r)
	w.must(err)
	w.Cleanup(func() {
		leave()
		answer.Body.Close()
		transport.CloseIdleConnections()
	})
	if answer.StatusCode != http.StatusOK {
		return func() (string, string) { return fmt.Sprint(answer.StatusCode), "" }, leave
	}
	lines := bufio.NewScanner(answer.Body)
	return func() (name, data string) {
		for lines.Scan() {
			switch key, value, _ := strings.Cut(lines.Text(), ": "); {
			case key == "event":
				name = value
			case key == "data":
				data += value + "\n"
			case key == "" && name == "still":
				name, data = "", ""
			case key == "" && name != "":
				return name, data
			}
		}
		return "", ""
	}, leave
}

func requestEvents(r *pending.Request[job]) string {
	return page("events", "page", "request", "store", "jobs", "id", r.ID)
}

func TestAPageIsSentAgainAfterEachChange(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Refresh = 100 * time.Millisecond })
	base, r := w.serve(), w.create(box)
	next, _ := w.events(base, requestEvents(r))
	expect := func(name, text string) {
		t.Helper()
		if gotName, data := next(); gotName != name || !strings.Contains(data, text) {
			t.Fatalf("got %s:\n%s\nwant %s with %q", gotName, data, name, text)
		}
	}
	expect("page", "Nobody yet")
	c := w.pop(box)
	expect("page", "A worker of this mailbox holds it")
	w.must(w.jobs.Complete(t.Context(), c))
	expect("page", "completed")
	expect("final", "")
	expect("", "")
}

func TestTheOverviewAndAMailboxAreLive(t *testing.T) {
	w := inMemory(t, func(w *world) { w.config.Refresh = 100 * time.Millisecond })
	base := w.serve()
	overview, _ := w.events(base, page("events", "page", "overview"))
	mailbox, _ := w.events(base, page("events", "page", "mailbox", "store", "jobs", "name", box))
	for _, next := range []func() (string, string){overview, mailbox} {
		if name, _ := next(); name != "page" {
			t.Fatalf("the first event is %q", name)
		}
	}
	r := w.create(box)
	if _, data := mailbox(); !strings.Contains(data, r.ID) {
		t.Errorf("the mailbox shows no new request:\n%s", data)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	w := inMemory(t, func(w *world) {
		w.config.MaxStreams = 2
		w.config.Refresh = 100 * time.Millisecond
	})
	base, r := w.serve(), w.create(box)
	var leave func()
	for range 2 {
		var next func() (string, string)
		next, leave = w.events(base, requestEvents(r))
		if name, _ := next(); name != "page" {
			t.Fatalf("the first event is %q", name)
		}
	}
	if next, _ := w.events(base, requestEvents(r)); nextName(next) != "503" {
		t.Error("the dashboard serves a third stream")
	}
	leave()
	for { // until the server has noticed that the second stream is gone
		if next, _ := w.events(base, requestEvents(r)); nextName(next) == "page" {
			return
		}
	}
}

func nextName(next func() (string, string)) string {
	name, _ := next()
	return name
}

func TestDrainEndsAllStreams(t *testing.T) {
	w := inMemory(t, nil)
	base, r := w.serve(), w.create(box)
	next, _ := w.events(base, requestEvents(r))
	if name, _ := next(); name != "page" {
		t.Fatalf("the first event is %q", name)
	}
	w.dashboard.Drain()
	if name, _ := next(); name != "" {
		t.Errorf("%q after Drain", name)
	}
	if next, _ := w.events(base, requestEvents(r)); nextName(next) != "503" {
		t.Error("the dashboard serves a stream after Drain")
	}
}

func TestAStreamEndsWhenItsAccessEnds(t *testing.T) {
	revoked := make(chan struct{})
	w := newWorld(t, memory.New(), func(w *world) {
		w.config.Refresh = 100 * time.Millisecond
		w.config.Access = func(*http.Request, dashboard.Action, string, string) (string, bool) {
			select {
			case <-revoked:
				return "", false
			default:
				return "bob", true
			}
		}
	})
	base, r := w.serve(), w.create(box)
	next, _ := w.events(base, requestEvents(r))
	if name, _ := next(); name != "page" {
		t.Fatalf("the first event is %q", name)
	}
	close(revoked)
	if name, _ := next(); name != "gone" {
		t.Errorf("%q after the access ended, want gone", name)
	}
}

var boxEvents = page("events", "page", "mailbox", "store", "jobs", "name", box)

// flaky is a backend whose second, third and fifth List fail.
type flaky struct {
	*memory.Backend
	lists atomic.Int64
}

func (b *flaky) List(
	ctx context.Context, store, mailbox, after string, limit int) (backends.Page, error) {
	if n := b.lists.Add(1); n == 2 || n == 3 || n == 5 {
		return backends.Page{}, errors.New("the engine is away")
	}
	return b.Backend.List(ctx, store, mailbox, after, limit)
}

// The browser shows the trouble until the next page comes, so an unchanged page is sent too.
func TestAPageIsSentAgainAfterTheBackendHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &flaky{Backend: memory.New()}, nil)
		answer := w.ask(httptest.NewRequest("GET", boxEvents, nil))
		events := ""
		for line := range strings.Lines(answer.Body.String()) {
			name, isEvent := strings.CutPrefix(line, "event: ")
			if isEvent && name != "still\n" {
				events += name
			}
		}
		if want := "page\ntrouble\ntrouble\npage\ntrouble\npage\n"; events != want {
			t.Errorf("the events are\n%swant\n%s", events, want)
		}
		w.shows(w.log.String(), "dashboard: page failed", "the engine is away")
		if lines := strings.Count(w.log.String(), "\n"); lines != 2 {
			t.Errorf("the log has %d lines, want 1 for each time of failures in a row", lines)
		}
	})
}

// http2Writer is a writer that ends its request at the write deadline, even between two writes. The
// HTTP/2 server of net/http does so too.
type http2Writer struct {
	*httptest.ResponseRecorder
	deadline *time.Timer
	reset    func()
}

func (w *http2Writer) SetWriteDeadline(at time.Time) error {
	if w.deadline != nil {
		w.deadline.Stop()
	}
	if !at.IsZero() {
		w.deadline = time.AfterFunc(time.Until(at), w.reset)
	}
	return nil
}

func TestAStreamOutlivesQuietTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, func(w *world) { w.config.Refresh = time.Minute })
		ctx, reset := context.WithCancel(t.Context())
		defer reset()
		start := time.Now()
		w.dashboard.ServeHTTP(&http2Writer{ResponseRecorder: httptest.NewRecorder(), reset: reset},
			httptest.NewRequestWithContext(ctx, "GET", boxEvents, nil))
		if lived := time.Since(start); lived != 10*time.Minute {
			t.Errorf("the stream ended after %v, want 10 min", lived)
		}
	})
}

func TestHeadOpensNoStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, nil)
		answer := w.ask(httptest.NewRequest("HEAD", boxEvents, nil))
		if answer.Code != http.StatusNotFound {
			t.Errorf("%d, want 404", answer.Code)
		}
	})
}

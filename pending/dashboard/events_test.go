package dashboard_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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

// events connects to the events of a page. Next returns the name and the data of the next event,
// or "" at the end.
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

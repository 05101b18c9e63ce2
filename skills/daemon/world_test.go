package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
	"github.com/pendingq/pendingq/skills/skillshttp"
	"github.com/pendingq/pendingq/skills/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const laptop = "laptop"

// access accepts the daemon of the laptop by its token. If gone is set, the laptop was deleted.
type access struct{ gone bool }

func (a *access) Requester(*http.Request, string) (skillshttp.Requester, error) {
	return skillshttp.Requester{}, nil
}

func (a *access) Daemon(r *http.Request, runtimeID string) (bool, error) {
	if a.gone {
		return false, skillshttp.ErrRuntimeGone
	}
	return runtimeID == laptop && r.Header.Get("Authorization") == "Bearer secret", nil
}

// library keeps the saved skills by request.
type library struct {
	mu    sync.Mutex
	saved map[string]skills.Skill
}

func (l *library) Save(_ context.Context, s skillshttp.Save) (skills.Skill, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.saved[s.RequestID]; !ok {
		l.saved[s.RequestID] = skills.Skill{
			ID: s.RequestID, Name: s.Name, Content: s.Bundle.Content}
	}
	return l.saved[s.RequestID], nil
}

func (l *library) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.saved)
}

func (l *library) TakeBack(context.Context, string) error { return nil }

// logbook collects log lines.
type logbook struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// world is a server without a network, on fake time.
type world struct {
	*testing.T
	stores  *skills.Stores
	access  *access
	library *library
	handler http.Handler
	log     *logbook

	mu    sync.Mutex
	calls []*http.Request              // in the order of their arrival
	fault func(*http.Request) *failure // the failure of a call, or nil; nil: no call fails
}

// failure is the way a call fails.
type failure struct {
	before bool // the call never reaches the server
	status int  // replaces the server's answer; 0: the answer is lost
}

// inWorld runs a test in a synctest bubble, with a new world.
func inWorld(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		stores, err := skills.New(memory.New())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, stores: stores, access: &access{}, log: &logbook{},
			library: &library{saved: map[string]skills.Skill{}}}
		w.handler = w.newHandler(w.access)
		test(w)
	})
}

// newHandler returns the handler of an API node.
func (w *world) newHandler(access skillshttp.Access) http.Handler {
	w.Helper()
	handler, err := skillshttp.New(skillshttp.Config{Stores: w.stores, Access: access,
		Library: w.library, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	return handler
}

// RoundTrip implements http.RoundTripper. It calls the handler instead of a server.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	seen := r.Clone(r.Context())
	seen.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	w.calls = append(w.calls, seen)
	var f *failure
	if w.fault != nil {
		f = w.fault(seen)
	}
	w.mu.Unlock()
	if f != nil && f.before {
		return nil, errors.New("connection refused")
	}
	if f != nil && f.status != 0 {
		return &http.Response{StatusCode: f.status, Body: http.NoBody,
			Header: http.Header{"Retry-After": {"7"}}}, nil
	}
	served := r.Clone(r.Context())
	served.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, served)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if f != nil {
		return nil, errors.New("connection reset")
	}
	return rec.Result(), nil
}

// heartbeats returns the heartbeats in the order of their arrival.
func (w *world) heartbeats() (beats []wire.Heartbeat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.calls {
		if !isHeartbeat(r) {
			continue
		}
		var beat wire.Heartbeat
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &beat); err != nil {
			w.Fatal(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		beats = append(beats, beat)
	}
	return beats
}

// reports returns how many reports have arrived.
func (w *world) reports() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.calls {
		if strings.HasSuffix(r.URL.Path, "/result") {
			n++
		}
	}
	return n
}

func isHeartbeat(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/heartbeat") }

// once lets the first call fail that matches.
func once(matches func(*http.Request) bool, f failure) func(*http.Request) *failure {
	done := false
	return func(r *http.Request) *failure {
		if done || !matches(r) {
			return nil
		}
		done = true
		return &f
	}
}

// run starts a daemon. Stop ends it and returns the error of Run.
func (w *world) run(h daemon.Handlers, change ...func(*daemon.Config)) (stop func() error) {
	w.Helper()
	c := daemon.Config{Server: "http://server/", RuntimeID: laptop, Token: "secret",
		Handlers: h, Client: &http.Client{Transport: w},
		Logger: slog.New(slog.NewTextHandler(w.log, nil))}
	for _, f := range change {
		f(&c)
	}
	d, err := daemon.New(c)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// stopped stops a daemon. The test fails if Run returned an error.
func (w *world) stopped(stop func() error) {
	w.Helper()
	if err := stop(); err != nil {
		w.Errorf("Run returned %v", err)
	}
}

// ask creates a request of the laptop and returns its id.
func ask[T any](w *world, s *pending.PendingStore[T], payload T) (id string) {
	w.Helper()
	asked, err := s.Create(w.Context(), laptop, payload)
	if err != nil {
		w.Fatal(err)
	}
	return asked.ID
}

// await creates a request of the laptop and waits until it has ended.
func await[T any](w *world, s *pending.PendingStore[T], payload T) *pending.Request[T] {
	w.Helper()
	r, err := s.Await(w.Context(), ask(w, s, payload))
	if err != nil {
		w.Fatal(err)
	}
	return r
}

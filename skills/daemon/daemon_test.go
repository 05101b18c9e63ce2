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
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
	"github.com/pendingq/pendingq/skills/folders"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const laptop = "laptop"

// access lets the laptop's daemon in by its token.
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

// library counts saved skills.
type library struct {
	mu    sync.Mutex
	saved map[string]skills.Skill
}

func (l *library) Save(_ context.Context, s skillshttp.Save) (skills.Skill, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.saved[s.RequestID]; !ok {
		l.saved[s.RequestID] = skills.Skill{ID: s.RequestID, Name: s.Name, Content: s.Bundle.Content}
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
	fault func(*http.Request) *failure // what goes wrong with a call; nil: nothing
}

// failure is what goes wrong with a call.
type failure struct {
	before bool // it never reaches the server
	status int  // the server's answer is replaced; 0: it is lost
}

func inWorld(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		stores, err := skills.New(memory.New())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, stores: stores, access: &access{}, library: &library{saved: map[string]skills.Skill{}}, log: &logbook{}}
		w.handler, err = skillshttp.New(skillshttp.Config{Stores: stores, Access: w.access, Library: w.library,
			Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		test(w)
	})
}

// RoundTrip implements http.RoundTripper.
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
		return &http.Response{StatusCode: f.status, Header: http.Header{"Retry-After": {"7"}}, Body: http.NoBody}, nil
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

// heartbeats are the heartbeats that arrived, with the times between being of no matter.
func (w *world) heartbeats() (beats []skillshttp.Heartbeat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.calls {
		if strings.HasSuffix(r.URL.Path, "/heartbeat") {
			var beat skillshttp.Heartbeat
			body, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(body, &beat); err != nil {
				w.Fatal(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			beats = append(beats, beat)
		}
	}
	return beats
}

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

// once lets something go wrong with the first call that matches.
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

// run runs a daemon until the test ends it.
func (w *world) run(h daemon.Handlers, change ...func(*daemon.Config)) (stop func() error) {
	w.Helper()
	c := daemon.Config{Server: "http://server/", RuntimeID: laptop, Token: "secret", Handlers: h,
		Client: &http.Client{Transport: w}, Logger: slog.New(slog.NewTextHandler(w.log, nil))}
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

func (w *world) stopped(stop func() error) {
	w.Helper()
	if err := stop(); err != nil {
		w.Errorf("Run returned %v", err)
	}
}

func await[T any](w *world, s *pending.PendingStore[T], payload T) *pending.Request[T] {
	w.Helper()
	asked, err := s.Create(w.Context(), laptop, payload)
	if err != nil {
		w.Fatal(err)
	}
	r, err := s.Await(w.Context(), asked.ID)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func TestEveryKindIsAnswered(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "notes"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "notes", "SKILL.md"), []byte("# Notes"), 0o644); err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(w *world) {
		h := daemon.Folders([]folders.Root{{Provider: "claude", Path: root}})
		h.Ping = func(context.Context) (string, error) { return "up", nil }
		h.Update = func(_ context.Context, version string) (string, error) { return "at " + version, nil }
		h.Models = func(context.Context) (skills.ModelList, error) {
			return skills.ModelList{Models: []skills.Model{{ID: "m"}}, Supported: true}, nil
		}
		stop := w.run(h)
		if r := await(w, w.stores.Lists, skills.NewList()); len(r.Payload.Skills) != 1 || r.Payload.Skills[0].Key != "notes" {
			t.Errorf("list: %s %+v", r.Status, r.Payload)
		}
		if r := await(w, w.stores.Imports, skills.Import{SkillKey: "notes"}); r.Payload.Skill == nil || r.Payload.Skill.Content != "# Notes" {
			t.Errorf("import: %s %+v", r.Status, r.Payload)
		}
		if r := await(w, w.stores.Imports, skills.Import{SkillKey: "../etc"}); r.Status != pending.StatusFailed || !strings.Contains(r.Error, "invalid skill key") {
			t.Errorf("import of a key that leads outside: %s %s", r.Status, r.Error)
		}
		if r := await(w, w.stores.Pings, skills.Ping{}); r.Payload.Output != "up" {
			t.Errorf("ping: %s %+v", r.Status, r.Payload)
		}
		if r := await(w, w.stores.Updates, skills.Update{TargetVersion: "2"}); r.Payload.Output != "at 2" {
			t.Errorf("update: %s %+v", r.Status, r.Payload)
		}
		if r := await(w, w.stores.ModelLists, skills.NewModelList()); len(r.Payload.Models) != 1 || !r.Payload.Supported {
			t.Errorf("models: %s %+v", r.Status, r.Payload)
		}
		w.stopped(stop)
	})
}

func TestWhatARuntimeCannotDoIsSaid(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{})
		if r := await(w, w.stores.Lists, skills.NewList()); r.Status != pending.StatusCompleted || r.Payload.Supported {
			t.Errorf("list: %s %+v", r.Status, r.Payload)
		}
		if r := await(w, w.stores.ModelLists, skills.NewModelList()); r.Status != pending.StatusCompleted || r.Payload.Supported {
			t.Errorf("models: %s %+v", r.Status, r.Payload)
		}
		if r := await(w, w.stores.Imports, skills.Import{SkillKey: "k"}); r.Status != pending.StatusFailed || !strings.Contains(r.Error, "cannot import") {
			t.Errorf("import: %s %s", r.Status, r.Error)
		}
		if r := await(w, w.stores.Updates, skills.Update{}); r.Status != pending.StatusFailed || !strings.Contains(r.Error, "cannot update") {
			t.Errorf("update: %s %s", r.Status, r.Error)
		}
		if r := await(w, w.stores.Pings, skills.Ping{}); r.Status != pending.StatusCompleted {
			t.Errorf("ping: %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

func TestHandlersThatFailOrCrash(t *testing.T) {
	inWorld(t, func(w *world) {
		broken := errors.New("no disk")
		stop := w.run(daemon.Handlers{
			List:   func(context.Context) (skills.List, error) { return skills.List{}, broken },
			Import: func(context.Context, string) (skills.Bundle, error) { panic("secret") },
			Ping:   func(context.Context) (string, error) { return "", broken },
			Update: func(context.Context, string) (string, error) { return "log", broken },
			Models: func(context.Context) (skills.ModelList, error) { return skills.ModelList{}, broken },
		})
		if r := await(w, w.stores.Imports, skills.Import{SkillKey: "k"}); r.Error != "the runtime's handler crashed" {
			t.Errorf("a crash: %s %q", r.Status, r.Error)
		}
		for _, got := range []string{await(w, w.stores.Lists, skills.List{}).Error, await(w, w.stores.Pings, skills.Ping{}).Error,
			await(w, w.stores.ModelLists, skills.ModelList{}).Error} {
			if got != "no disk" {
				t.Errorf("got reason %q, want the handler's error", got)
			}
		}
		if r := await(w, w.stores.Updates, skills.Update{}); r.Error != "no disk" || r.Payload.Output != "log" {
			t.Errorf("update: %q %+v", r.Error, r.Payload)
		}
		w.stopped(stop)
		if strings.Contains(w.log.String(), "secret") {
			t.Errorf("the log carries what the handler panicked with:\n%s", w.log)
		}
	})
}

func TestALostHeartbeatAnswerCostsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		var pings atomic.Int64
		w.fault = once(isHeartbeat, failure{})
		asked, err := w.stores.Pings.Create(w.Context(), laptop, skills.Ping{})
		if err != nil {
			t.Fatal(err)
		}
		stop := w.run(daemon.Handlers{Ping: func(context.Context) (string, error) { pings.Add(1); return "up", nil }})
		r, err := w.stores.Pings.Await(w.Context(), asked.ID)
		if err != nil || r.Status != pending.StatusCompleted || r.Attempt != 1 || pings.Load() != 1 {
			t.Errorf("got %v, %v after %d pings", r, err, pings.Load())
		}
		synctest.Wait() // until the daemon has asked again
		w.stopped(stop)
		beats := w.heartbeats()
		if beats[0].ClaimID == "" || beats[0].ClaimID != beats[1].ClaimID || beats[2].ClaimID == beats[1].ClaimID {
			t.Errorf("claim ids: %+v", beats)
		}
	})
}

func TestALostReportAnswerHasOneEffect(t *testing.T) {
	for what, f := range map[string]failure{"lost": {}, "never sent": {before: true}, "a server error": {status: 500}} {
		inWorld(t, func(w *world) {
			w.fault = once(func(r *http.Request) bool { return !isHeartbeat(r) }, f)
			stop := w.run(daemon.Handlers{Import: func(context.Context, string) (skills.Bundle, error) {
				return skills.Bundle{Name: "n", Content: "c"}, nil
			}})
			r := await(w, w.stores.Imports, skills.Import{SkillKey: "k"})
			<-time.After(10 * time.Second)
			if r.Status != pending.StatusCompleted || w.library.count() != 1 || w.reports() != 2 {
				t.Errorf("%s: %s with %d skills after %d reports", what, r.Status, w.library.count(), w.reports())
			}
			w.stopped(stop)
		})
	}
}

func TestReportsAreRetriedAsOftenAsAgreed(t *testing.T) {
	for status, want := range map[int]int{500: 4, 413: 1, 404: 1} {
		inWorld(t, func(w *world) {
			w.fault = func(r *http.Request) *failure {
				if isHeartbeat(r) {
					return nil
				}
				return &failure{status: status}
			}
			stop := w.run(daemon.Handlers{})
			if r := await(w, w.stores.Pings, skills.Ping{}); r.Status != pending.StatusTimeout {
				t.Errorf("got %s", r.Status)
			}
			if w.reports() != want {
				t.Errorf("%d: %d reports, want %d", status, w.reports(), want)
			}
			w.stopped(stop)
		})
	}
}

func TestAServerThatIsAwayIsAskedLessAndLessOften(t *testing.T) {
	inWorld(t, func(w *world) {
		away := true
		w.fault = func(*http.Request) *failure {
			if away {
				return &failure{before: true}
			}
			return nil
		}
		stop := w.run(daemon.Handlers{})
		<-time.After(10 * time.Minute)
		if n := len(w.heartbeats()); n < 10 || n > 60 {
			t.Errorf("%d heartbeats in ten minutes to a server that is away", n)
		}
		w.mu.Lock()
		away = false
		w.mu.Unlock()
		asked, err := w.stores.Lists.Create(w.Context(), laptop, skills.NewList())
		if err != nil {
			t.Fatal(err)
		}
		if r, err := w.stores.Lists.Await(w.Context(), asked.ID); err != nil || r.Status != pending.StatusCompleted {
			t.Errorf("once it is back: %v, %v", r, err)
		}
		w.stopped(stop)
	})
}

func TestAServerThatAsksForPatienceGetsIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fault = func(*http.Request) *failure { return &failure{status: http.StatusTooManyRequests} }
		stop := w.run(daemon.Handlers{})
		<-time.After(70*time.Second + time.Millisecond)
		if n := len(w.heartbeats()); n != 11 {
			t.Errorf("%d heartbeats in 70 seconds with Retry-After: 7, want 11", n)
		}
		w.stopped(stop)
	})
}

func TestAServerThatHoldsNoHeartbeatsIsPolledAtTheInterval(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{}, func(c *daemon.Config) { c.Wait = -1 })
		<-time.After(150 * time.Second)
		if n := len(w.heartbeats()); n < 9 || n > 13 {
			t.Errorf("%d heartbeats in 150 seconds, want one about every 15", n)
		}
		w.stopped(stop)
	})
	inWorld(t, func(w *world) {
		old := w.handler
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.URL.RawQuery = "" // knows no ?wait=
			old.ServeHTTP(rw, r)
		})
		stop := w.run(daemon.Handlers{})
		<-time.After(150 * time.Second)
		if n := len(w.heartbeats()); n < 9 || n > 13 {
			t.Errorf("an old server got %d heartbeats in 150 seconds, want one about every 15", n)
		}
		w.stopped(stop)
	})
}

func TestWorkIsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		for range 20 {
			if _, err := w.stores.Imports.Create(w.Context(), laptop, skills.Import{SkillKey: "k"}); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		running, most := 0, 0
		stop := w.run(daemon.Handlers{Import: func(context.Context, string) (skills.Bundle, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return skills.Bundle{Name: "n", Content: "c"}, nil
		}}, func(c *daemon.Config) { c.MaxConcurrent = 3 })
		<-time.After(20 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 || w.library.count() != 20 {
			t.Errorf("%d at a time, want 3; %d of 20 imported", most, w.library.count())
		}
		for _, beat := range w.heartbeats() {
			if beat.SupportsBatchImport {
				t.Error("it asked for a batch that it has no room for")
				break
			}
		}
		w.stopped(stop)
	})
}

func TestALongUpdateSaysThatItRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{Update: func(context.Context, string) (string, error) {
			<-time.After(10 * time.Minute)
			return "done", nil
		}})
		if r := await(w, w.stores.Updates, skills.Update{TargetVersion: "2"}); r.Status != pending.StatusCompleted || r.Payload.Output != "done" {
			t.Errorf("got %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

func TestShuttingDownFinishesWhatRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{
			Ping:   func(context.Context) (string, error) { <-time.After(10 * time.Second); return "up", nil },
			Update: func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() },
		})
		ping, err := w.stores.Pings.Create(w.Context(), laptop, skills.Ping{})
		if err != nil {
			t.Fatal(err)
		}
		update, err := w.stores.Updates.Create(w.Context(), laptop, skills.Update{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // both are running
		start := time.Now()
		w.stopped(stop)
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("it shut down after %v, want the grace of 30s", took)
		}
		if r, err := w.stores.Pings.Get(w.Context(), ping.ID); err != nil || r.Payload.Output != "up" {
			t.Errorf("what ended in time: %v, %v", r, err)
		}
		if r, err := w.stores.Updates.Get(w.Context(), update.ID); err != nil || r.Error != "the runtime is shutting down" {
			t.Errorf("what did not: %v, %v", r, err)
		}
	})
}

func TestADeletedRuntimeStops(t *testing.T) {
	inWorld(t, func(w *world) {
		w.access.gone = true
		d := w.run(daemon.Handlers{})
		synctest.Wait()
		if err := d(); !errors.Is(err, daemon.ErrRuntimeGone) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestARefusedRuntimeSaysSoAndKeepsTrying(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{}, func(c *daemon.Config) { c.Token = "wrong" })
		<-time.After(5 * time.Minute)
		w.stopped(stop)
		if n := len(w.heartbeats()); n < 4 || n > 6 {
			t.Errorf("%d heartbeats in five minutes, want one a minute", n)
		}
		if log := w.log.String(); !strings.Contains(log, "are its id and token right?") || strings.Contains(log, "wrong") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	good := daemon.Config{Server: "http://x", RuntimeID: "r"}
	for want, spoil := range map[string]func(*daemon.Config){
		"Server":    func(c *daemon.Config) { c.Server = "x" },
		"RuntimeID": func(c *daemon.Config) { c.RuntimeID = "" },
		"Wait":      func(c *daemon.Config) { c.Wait = time.Hour },
		"Grace":     func(c *daemon.Config) { c.Grace = -1 },
	} {
		c := good
		spoil(&c)
		if _, err := daemon.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

package daemon_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
)

// A daemon that followed the redirect would send its token to the other host.
func TestARedirectToAnotherHostIsRefused(t *testing.T) {
	var visits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		visits.Add(1)
	}))
	defer elsewhere.Close()
	asked := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		asked <- struct{}{}
	}))
	defer server.Close()
	log := &logbook{}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	d, err := daemon.New(daemon.Config{Server: server.URL, RuntimeID: laptop, Token: "secret",
		Client: &http.Client{Transport: transport},
		Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	<-asked
	<-asked // the daemon has handled the first answer
	cancel()
	if err := <-ended; err != nil || visits.Load() > 0 {
		t.Errorf("Run returned %v; the other host was called %d times", err, visits.Load())
	}
	text := log.String()
	if !strings.Contains(text, "which is refused") || strings.Contains(text, "secret") {
		t.Errorf("the log:\n%s", text)
	}
}

// anyDaemon accepts the daemon of any runtime.
type anyDaemon struct{ access }

func (anyDaemon) Daemon(*http.Request, string) (bool, error) { return true, nil }

// The id of a runtime is a segment of the report's path, so the daemon has to escape it.
func TestRuntimesWithOddIDsReport(t *testing.T) {
	for _, id := range []string{"..", ".", "a/b", "a//../b", "a b?c#d", "%2e", "ü"} {
		inWorld(t, func(w *world) {
			w.handler = w.newHandler(&anyDaemon{})
			stop := w.run(daemon.Handlers{}, func(c *daemon.Config) { c.RuntimeID = id })
			asked, err := w.stores.Pings.Create(w.Context(), id, skills.Ping{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := w.stores.Pings.Await(w.Context(), asked.ID)
			if err != nil || r.Status != pending.StatusCompleted {
				t.Errorf("%q: got %v, %v", id, r, err)
			}
			w.stopped(stop)
		})
	}
}

// The proxy cuts off each answer that takes longer than ten seconds.
func TestAProxyThatCutsLongPolls(t *testing.T) {
	inWorld(t, func(w *world) {
		inner := w.handler
		var cuts atomic.Int32
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
			defer cancel()
			inner.ServeHTTP(rw, r.WithContext(ctx))
			if ctx.Err() != nil {
				cuts.Add(1)
				panic("cut")
			}
		})
		stop := w.run(daemon.Handlers{}, func(c *daemon.Config) {
			c.Client = &http.Client{Transport: cutting{w}}
		})
		<-time.After(5 * time.Minute)
		if n := cuts.Load(); n != 1 {
			t.Errorf("%d heartbeats were cut off, want only the first", n)
		}
		if n := len(w.heartbeats()); n < 35 || n > 45 {
			t.Errorf("%d heartbeats in five minutes, want one every 7.5 s", n)
		}
		w.stopped(stop)
	})
}

// cutting is the proxy: it answers 502 instead of the answer that was cut off.
type cutting struct{ *world }

func (c cutting) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if recover() != nil {
			resp, err = &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody}, nil
		}
	}()
	return c.world.RoundTrip(r)
}

// swallowing never answers the first call.
type swallowing struct {
	*world
	calls atomic.Int32
}

func (s *swallowing) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.calls.Add(1) == 1 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return s.world.RoundTrip(r)
}

func TestAHeartbeatThatIsNeverAnsweredIsGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{}, func(c *daemon.Config) {
			c.Client = &http.Client{Transport: &swallowing{world: w}}
		})
		<-time.After(time.Minute)
		if r := await(w, w.stores.Pings, skills.Ping{}); r.Status != pending.StatusCompleted {
			t.Errorf("got %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

// The daemon goes on after an unreadable answer.
func TestAnAnswerThatCannotBeReadIsGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		inner := w.handler
		poisoned := ""
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			inner.ServeHTTP(rec, r)
			answer := rec.Body.String()
			first := poisoned == "" && strings.Contains(answer, `"pending_ping"`)
			if first || poisoned == answer { // the same claim gets the same answer
				poisoned = answer
				_, _ = io.WriteString(rw, `{"status":"ok",`)
				return
			}
			_, _ = io.WriteString(rw, answer)
		})
		ask(w, w.stores.Pings, skills.Ping{})
		stop := w.run(daemon.Handlers{})
		<-time.After(10 * time.Second)
		if r := await(w, w.stores.Pings, skills.Ping{}); r.Status != pending.StatusCompleted {
			t.Errorf("the next request: %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

// The repeated heartbeat gets the same answer, so work that was begun would be begun twice, and an
// update whose version cannot be read would be one to "".
func TestNoWorkOfAnAnswerThatCannotBeReadIsDone(t *testing.T) {
	inWorld(t, func(w *world) {
		inner, beats := w.handler, 0
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if isHeartbeat(r) && beats < 2 {
				beats++
				_, _ = io.WriteString(rw, `{"status":"ok","pending_ping":{"id":"a"},`+
					`"pending_update":{"id":"b","target_version":2}}`)
				return
			}
			inner.ServeHTTP(rw, r)
		})
		var pings, updates atomic.Int32
		stop := w.run(daemon.Handlers{
			Ping: func(context.Context) (string, error) { pings.Add(1); return "", nil },
			Update: func(_ context.Context, version string) (string, error) {
				updates.Add(1)
				return version, nil
			}})
		<-time.After(time.Minute)
		if pings.Load() > 0 || updates.Load() > 0 {
			t.Errorf("%d pings and %d updates were done", pings.Load(), updates.Load())
		}
		w.stopped(stop)
	})
}

// The daemon repeats the claim id if the server could not look for work.
func TestAHeartbeatWhoseClaimFailedIsRepeated(t *testing.T) {
	inWorld(t, func(w *world) {
		inner, failed := w.handler, false
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !failed {
				failed = true
				rw.Header().Set("Claim-Failed", "true")
				_, _ = io.WriteString(rw, `{"status":"ok"}`)
				return
			}
			inner.ServeHTTP(rw, r)
		})
		stop := w.run(daemon.Handlers{})
		<-time.After(time.Minute)
		synctest.Wait()
		beats := w.heartbeats()
		if beats[0].ClaimID != beats[1].ClaimID || beats[1].ClaimID == beats[2].ClaimID {
			t.Errorf("claim ids: %+v", beats[:3])
		}
		w.stopped(stop)
	})
}

func TestOmissionsAreLogged(t *testing.T) {
	inWorld(t, func(w *world) {
		var o skills.Omissions
		for range 150 {
			o.Add(skills.Omission{Key: "k", Path: "~/s/logo.png", Reason: "not a text file"})
		}
		stop := w.run(daemon.Handlers{List: func(context.Context) (skills.List, error) {
			return skills.List{Supported: true, Omissions: o}, nil
		}})
		got := await(w, w.stores.Lists, skills.NewList()).Payload.Omissions
		if got.LeftOutCount != 150 || len(got.LeftOut) != skills.MaxOmissions {
			t.Errorf("got %d omissions, of which %d are named", got.LeftOutCount, len(got.LeftOut))
		}
		w.stopped(stop)
		log := w.log.String()
		if named := strings.Count(log, "~/s/logo.png"); named != skills.MaxOmissions {
			t.Errorf("the log names %d omissions, want %d:\n%s", named, skills.MaxOmissions, log)
		}
		if !strings.Contains(log, "count=50") {
			t.Errorf("the log does not count the other omissions:\n%s", log)
		}
	})
}

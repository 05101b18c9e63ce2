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
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// H7: a server, or whoever poses as it, sends the daemon elsewhere.
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
		Client: &http.Client{Transport: transport}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	<-asked
	<-asked // so the first answer has been dealt with
	cancel()
	if err := <-ended; err != nil || visits.Load() > 0 {
		t.Errorf("Run returned %v; the other host was called %d times", err, visits.Load())
	}
	if text := log.String(); !strings.Contains(text, "which is refused") || strings.Contains(text, "secret") {
		t.Errorf("the log:\n%s", text)
	}
}

// dotted is access for the daemon of any runtime.
type dotted struct{ access }

func (dotted) Daemon(*http.Request, string) (bool, error) { return true, nil }

// H8: the id of a runtime is a part of a path.
func TestRuntimesWithOddIDsReport(t *testing.T) {
	for _, id := range []string{"..", ".", "a/b", "a//../b", "a b?c#d", "%2e", "ü"} {
		inWorld(t, func(w *world) {
			handler, err := skillshttp.New(skillshttp.Config{Stores: w.stores, Access: &dotted{},
				Library: w.library, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			w.handler = handler
			stop := w.run(daemon.Handlers{}, func(c *daemon.Config) { c.RuntimeID = id })
			asked, err := w.stores.Pings.Create(w.Context(), id, skills.Ping{})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := w.stores.Pings.Await(w.Context(), asked.ID); err != nil || r.Status != pending.StatusCompleted {
				t.Errorf("%q: got %v, %v", id, r, err)
			}
			w.stopped(stop)
		})
	}
}

// H12: a proxy cuts off what is held for longer than ten seconds.
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

// cutting answers 502 where the proxy cuts off.
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

// H9: a network that swallows a heartbeat.
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

// H5: an answer that the daemon cannot read does not keep it from working.
func TestAnAnswerThatCannotBeReadIsGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		inner := w.handler
		poisoned := ""
		w.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			inner.ServeHTTP(rec, r)
			if strings.Contains(rec.Body.String(), `"pending_ping"`) && (poisoned == "" || poisoned == rec.Body.String()) {
				poisoned = rec.Body.String() // the same claim gets the same answer
				_, _ = io.WriteString(rw, `{"status":"ok",`)
				return
			}
			_, _ = rw.Write(rec.Body.Bytes())
		})
		if _, err := w.stores.Pings.Create(w.Context(), laptop, skills.Ping{}); err != nil {
			t.Fatal(err)
		}
		stop := w.run(daemon.Handlers{})
		<-time.After(10 * time.Second)
		if r := await(w, w.stores.Pings, skills.Ping{}); r.Status != pending.StatusCompleted {
			t.Errorf("the next request: %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

// H4: a server that could not look for work is asked again with the same claim id.
func TestAHeartbeatWithoutALookIsRepeated(t *testing.T) {
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

func TestWhatIsLeftOutIsLogged(t *testing.T) {
	inWorld(t, func(w *world) {
		var o skills.Omissions
		for range 150 {
			o.Add(skills.Omission{Key: "k", Path: "~/s/logo.png", Reason: "not a text file"})
		}
		stop := w.run(daemon.Handlers{List: func(context.Context) (skills.List, error) {
			return skills.List{Supported: true, Omissions: o}, nil
		}})
		if r := await(w, w.stores.Lists, skills.NewList()); r.Payload.LeftOutCount != 150 || len(r.Payload.LeftOut) != skills.MaxOmissions {
			t.Errorf("got %d, of which %d are named", r.Payload.LeftOutCount, len(r.Payload.LeftOut))
		}
		w.stopped(stop)
		if log := w.log.String(); strings.Count(log, "~/s/logo.png") != skills.MaxOmissions || !strings.Contains(log, "count=50") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

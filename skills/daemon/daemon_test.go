package daemon_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
)

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
		if r := await(w, w.stores.Lists, skills.NewList()); r.Status != pending.StatusCompleted {
			t.Errorf("once the server is back: got %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fault = func(*http.Request) *failure {
			return &failure{status: http.StatusTooManyRequests}
		}
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
			r.URL.RawQuery = "" // an old server ignores ?wait=
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

func TestShutdownFinishesRunningWork(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{
			Ping: func(context.Context) (string, error) {
				<-time.After(10 * time.Second)
				return "up", nil
			},
			Update: func(ctx context.Context, _ string) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			},
		})
		ping := ask(w, w.stores.Pings, skills.Ping{})
		update := ask(w, w.stores.Updates, skills.Update{})
		synctest.Wait() // both are running
		start := time.Now()
		w.stopped(stop)
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("the daemon shut down after %v, want the grace of 30s", took)
		}
		finished, err := w.stores.Pings.Get(w.Context(), ping)
		if err != nil || finished.Payload.Output != "up" {
			t.Errorf("the ping ended in time: got %v, %v", finished, err)
		}
		cut, err := w.stores.Updates.Get(w.Context(), update)
		if err != nil || cut.Error != "the runtime is shutting down" {
			t.Errorf("the update did not end in time: got %v, %v", cut, err)
		}
	})
}

// slow is a network that takes a second to bring an answer.
type slow struct{ http.RoundTripper }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(r)
	select {
	case <-time.After(time.Second):
		return resp, err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestShutdownLosesNoWorkOfAHeartbeatInFlight(t *testing.T) {
	inWorld(t, func(w *world) {
		id := ask(w, w.stores.Pings, skills.Ping{})
		stop := w.run(daemon.Handlers{}, func(c *daemon.Config) {
			c.Client.Transport = slow{w}
		})
		synctest.Wait() // the server has claimed
		w.stopped(stop)
		got, err := w.stores.Pings.Get(w.Context(), id)
		if err != nil || got.Status != pending.StatusCompleted {
			t.Errorf("got %v, %v, want the ping completed", got, err)
		}
	})
}

func TestShutdownGivesUpAHeldHeartbeat(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{})
		synctest.Wait() // the server holds the heartbeat
		start := time.Now()
		w.stopped(stop)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("an idle daemon shut down after %v, want 2s", took)
		}
	})
}

func TestADeletedRuntimeStops(t *testing.T) {
	inWorld(t, func(w *world) {
		w.access.gone = true
		stop := w.run(daemon.Handlers{})
		synctest.Wait()
		if err := stop(); !errors.Is(err, daemon.ErrRuntimeGone) {
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
		log := w.log.String()
		if !strings.Contains(log, "are its id and token right?") || strings.Contains(log, "wrong") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	good := daemon.Config{Server: "http://x", RuntimeID: "r"}
	for field, spoil := range map[string]func(*daemon.Config){
		"Server":    func(c *daemon.Config) { c.Server = "x" },
		"RuntimeID": func(c *daemon.Config) { c.RuntimeID = "" },
		"Wait":      func(c *daemon.Config) { c.Wait = time.Hour },
		"Grace":     func(c *daemon.Config) { c.Grace = -1 },
	} {
		c := good
		spoil(&c)
		if _, err := daemon.New(c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want an error about %s", err, field)
		}
	}
}

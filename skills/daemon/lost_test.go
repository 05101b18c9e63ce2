package daemon_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
)

func TestALostHeartbeatAnswerCostsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		var pings atomic.Int64
		w.fault = once(isHeartbeat, failure{})
		id := ask(w, w.stores.Pings, skills.Ping{})
		stop := w.run(daemon.Handlers{Ping: func(context.Context) (string, error) {
			pings.Add(1)
			return "up", nil
		}})
		r, err := w.stores.Pings.Await(w.Context(), id)
		if err != nil || r.Status != pending.StatusCompleted || r.Attempt != 1 {
			t.Errorf("got %v, %v", r, err)
		}
		if n := pings.Load(); n != 1 {
			t.Errorf("the handler ran %d times, want once", n)
		}
		synctest.Wait() // until the daemon has asked again
		w.stopped(stop)
		beats := w.heartbeats()
		lost, repeated, next := beats[0].ClaimID, beats[1].ClaimID, beats[2].ClaimID
		if lost == "" || repeated != lost || next == repeated {
			t.Errorf("claim ids: %+v", beats)
		}
	})
}

func TestALostReportAnswerHasOneEffect(t *testing.T) {
	for what, f := range map[string]failure{
		"lost":           {},
		"never sent":     {before: true},
		"a server error": {status: 500},
	} {
		inWorld(t, func(w *world) {
			w.fault = once(func(r *http.Request) bool { return !isHeartbeat(r) }, f)
			bundle := func(context.Context, string) (skills.Bundle, error) {
				return skills.Bundle{Name: "n", Content: "c"}, nil
			}
			stop := w.run(daemon.Handlers{Import: bundle})
			r := await(w, w.stores.Imports, skills.Import{SkillKey: "k"})
			<-time.After(10 * time.Second)
			if r.Status != pending.StatusCompleted || w.library.count() != 1 || w.reports() != 2 {
				t.Errorf("%s: %s with %d skills after %d reports",
					what, r.Status, w.library.count(), w.reports())
			}
			w.stopped(stop)
		})
	}
}

func TestReportsAreRetriedUnlessTheRefusalIsDefinite(t *testing.T) {
	for status, want := range map[int]int{500: 4, 408: 4, 425: 4, 429: 4, 413: 1, 404: 1} {
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

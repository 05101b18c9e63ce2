package proof_test

import (
	"sync"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// TestHistories runs session after session, several at a time, and checks each once it is over.
func TestHistories(t *testing.T) {
	for _, world := range []struct {
		name       string
		operations int
		faults     int
		open       func(*testing.T) *environment
	}{
		{"memory", *operations, 0, memoryEnvironment},
		{"miniredis", *operations / 40, *faults / 10, miniEnvironment},
		{"redis", *operations, *faults, realEnvironment},
		{"killed redis", *operations / 10, *faults / 20, killedEnvironment},
		{"cluster", *operations / 5, *faults / 5, clusterEnvironment},
	} {
		t.Run(world.name, func(t *testing.T) {
			env := world.open(t)
			if world.faults > 0 {
				env.every = max(1, int64(world.operations/world.faults))
			}
			if env.shards != nil && *failOvers > 0 {
				env.shards.every = max(1, int64(world.operations / *failOvers))
			}
			start := time.Now()
			total := env.runSessions(t, int64(world.operations))
			t.Logf("%v, %d workers died, %d reports came late, %v, in %v", env, total.dead,
				total.stalled, total.changes, time.Since(start).Round(10*time.Millisecond))
			if lacking := total.lacks(); lacking != "" && world.operations >= 10_000 {
				t.Errorf("this run shows too little, it lacks: %s", lacking)
			}
			if env.shards != nil {
				t.Log(env.shards.report(total.losses))
			}
		})
	}
}

// atOnce is how many sessions run at the same time.
const atOnce = 6

// runSessions runs sessions until so many operations are done.
func (e *environment) runSessions(t *testing.T, operations int64) (total tally) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	total.changes, total.losses = map[string]int{}, losses{}
	for range atOnce {
		wg.Go(func() {
			for e.operations.Load() < operations && !t.Failed() {
				s := &session{ctx: t.Context(), b: e.b, env: e, mailbox: "runtime " + backends.NewID(""), stores: e.stores()}
				fails, err := s.run()
				if err != nil {
					t.Error(err)
					return
				}
				h := newHistory(s.calls, fails...)
				h.checkMailbox(s.stores)
				if err := h.check(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				total.dead += s.tally.dead
				total.stalled += s.tally.stalled
				total.losses.add(h.losses)
				total.countAll(h)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total
}

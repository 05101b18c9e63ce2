package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// Sessions runs sessions on one Backend, some at a time.
type Sessions struct {
	Backend    backends.Backend
	Operations int64         // how many calls all sessions make, at least
	Pace       time.Duration // the unit of a session's times; 0: Run chooses it
	Tolerance  time.Duration // the largest difference of the Backend's clock and the caller's
	Faults     *Faults
	Shards     FailOvers // nil without fail-overs

	Losses Losses // Run sets the effects that fail-overs have lost
}

// FailOvers makes the fail-overs of a storage that may lose its last writes.
type FailOvers interface {
	// Count counts a call about a mailbox, and makes a fail-over if it is time for one.
	Count(done int64, mailbox string)
	// AwaitCalm waits while a part of the storage has no master.
	AwaitCalm()
	// Of returns the fail-overs of a mailbox's part of the storage between two times.
	Of(mailbox string, began, ended int64) ([]FailOver, error)
}

// atOnce is how many sessions run at the same time.
const atOnce = 6

// enough is the number of calls from which on everything that can happen has to happen. On a busy
// machine that may take up to patient times as many calls.
const (
	enough  = 10_000
	patient = 3
)

// Run runs sessions until all calls have been made, and checks each session once it is over.
func (s *Sessions) Run(t testing.TB) {
	t.Helper()
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	s.Losses = Losses{}
	total := tally{changes: map[string]int{}, losses: s.Losses}
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return s.more(total) && !t.Failed()
	}
	for range atOnce {
		wg.Go(func() {
			for more() {
				one, h, err := s.one(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				total.add(one.tally, h)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d calls, %v", s.Faults.Calls(), total)
	if lacking := total.lacks(); lacking != "" && s.Operations >= enough && !t.Failed() {
		t.Errorf("the histories have no %s: they show too little", lacking)
	}
}

// more reports whether another session is to begin.
func (s *Sessions) more(total tally) bool {
	made := s.Faults.Calls()
	return made < s.Operations ||
		s.Operations >= enough && made < patient*s.Operations && total.lacks() != ""
}

// prepare compares the clocks. It chooses the pace if that is 0.
func (s *Sessions) prepare(ctx context.Context) error {
	ahead, took, err := s.probe(ctx)
	if err != nil {
		return err
	}
	if s.Pace == 0 {
		s.Pace = max(time.Millisecond/4, 4*took, s.Tolerance).Truncate(time.Microsecond)
	}
	return s.checkClock(ahead)
}

// probe makes a call. It returns the smallest possible difference of the two clocks, and how long
// the call took.
func (s *Sessions) probe(ctx context.Context) (ahead, took time.Duration, err error) {
	began := time.Now()
	rec, err := s.Backend.Create(ctx, calls.Lasting("clock").Probe())
	was := time.Now()
	return max(began.Truncate(time.Microsecond).Sub(rec.CreatedAt), rec.CreatedAt.Sub(was)),
		was.Sub(began), err
}

func (s *Sessions) checkClock(ahead time.Duration) error {
	if ahead > s.Tolerance {
		return fmt.Errorf("the clock of the backend and the clock of this process differ by %v, "+
			"more than the tolerance of %v, so the histories say nothing", ahead, s.Tolerance)
	}
	return nil
}

// slower is how much longer the times of some sessions are: so long that workers are rarely late,
// even on a busy machine.
const slower = 50

// one runs one session and checks its history. If the clocks have moved apart meanwhile, its error
// says so.
func (s *Sessions) one(ctx context.Context) (*session, *history, error) {
	pace := s.Pace
	if rand.IntN(3) == 0 {
		pace *= slower
	}
	one := &session{Sessions: s, ctx: ctx, mailbox: "runtime " + backends.NewID(""),
		stores: sessionStores(pace)}
	fails, err := one.run()
	if err != nil {
		return nil, nil, err
	}
	h := New(one.calls, fails...)
	h.CheckMailbox(one.stores)
	if err = h.Check(); err != nil {
		if ahead, _, failed := s.probe(ctx); failed == nil && s.checkClock(ahead) != nil {
			err = s.checkClock(ahead)
		}
	}
	return one, h, err
}

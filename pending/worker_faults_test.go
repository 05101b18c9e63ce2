package pending_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

func TestAShutdownWaitsForHandlersAndReleasesTheRest(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		for name, tc := range map[string]struct {
			attempts int
			lasts    time.Duration
			took     time.Duration
			status   pending.Status
		}{
			"done in time":       {1, 5 * time.Second, 5 * time.Second, pending.StatusCompleted},
			"not done":           {1, time.Hour, 10 * time.Second, pending.StatusPending},
			"not done, no retry": {2, time.Hour, 10 * time.Second, pending.StatusFailed},
		} {
			r := create(t, s)
			for range tc.attempts - 1 {
				mustDo(t, s.Release(t.Context(), pop(t, s), 0))
			}
			started := make(chan struct{})
			handle := func(ctx context.Context, _ *jobClaim) error {
				close(started)
				select {
				case <-ctx.Done():
					checkErr(t, name+", cause", context.Cause(ctx), pending.ErrWorkerStopped)
					return ctx.Err()
				case <-time.After(tc.lasts):
					return nil
				}
			}
			stop := work(t, s, pending.WorkerOptions{Grace: 10 * time.Second}, handle)
			<-started
			start := time.Now()
			stop()
			if took := time.Since(start); took != tc.took {
				t.Errorf("%s: Run returned after %v, want %v", name, took, tc.took)
			}
			if got := get(t, s, r.ID); got.Status != tc.status {
				t.Errorf("%s: got %s, %s; want %s", name, got.Status, got.Error, tc.status)
			}
			if tc.status == pending.StatusPending {
				mustDo(t, s.Complete(t.Context(), pop(t, s)))
			}
		}
	})
}

// away is a backend that cannot be reached while gone is true. A claim then happens, but its reply
// is lost.
type away struct {
	backends.Backend
	gone *atomic.Bool
}

var errAway = errors.New("connection refused")

func (a away) Unwrap() backends.Backend { return a.Backend }

func (a away) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	claimed, err := a.Backend.Claim(ctx, c)
	if a.gone.Load() {
		return nil, errAway
	}
	return claimed, err
}

func (a away) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	if a.gone.Load() {
		return backends.Lease{}, errAway
	}
	return a.Backend.Extend(ctx, x)
}

func (a away) End(ctx context.Context, e backends.End) (backends.Record, error) {
	if a.gone.Load() {
		return backends.Record{}, errAway
	}
	return a.Backend.End(ctx, e)
}

func TestAWorkerSurvivesABackendThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := new(atomic.Bool)
		s := newStore(t, away{memory.New(), gone}, twice())
		var mu sync.Mutex
		handled := map[string]int{}
		opts := pending.WorkerOptions{Concurrency: 2, Logger: slog.New(slog.DiscardHandler)}
		stop := work(t, s, opts, func(ctx context.Context, c *jobClaim) error {
			mu.Lock()
			handled[c.ID]++
			mu.Unlock()
			calls.Pass(5 * time.Minute)
			return ctx.Err()
		})
		first := create(t, s)
		calls.Pass(4*time.Minute + 50*time.Second)
		gone.Store(true)
		second := create(t, s)  // the reply to its claim is lost
		calls.Pass(time.Minute) // the first request cannot be ended
		gone.Store(false)
		for _, r := range []*jobRequest{first, second} {
			if got := await(t, s, r.ID); got.Status != pending.StatusCompleted {
				t.Errorf("got %s, %q; want completed", got.Status, got.Error)
			}
		}
		stop()
		if handled[first.ID] != 1 || handled[second.ID] != 1 {
			t.Errorf("handled %v, want each once", handled)
		}
	})
}

func TestAWorkerStopsAlthoughTheBackendStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := new(atomic.Bool)
		s := newStore(t, away{memory.New(), gone}, twice())
		const grace = 3 * time.Second
		started, away := make(chan struct{}, 2), make(chan struct{})
		opts := pending.WorkerOptions{
			Concurrency: 2,
			Grace:       grace,
			Logger:      slog.New(slog.DiscardHandler),
		}
		stop := work(t, s, opts, func(ctx context.Context, c *jobClaim) error {
			started <- struct{}{}
			<-away
			if c.Payload.Command == "quick" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		for _, command := range []string{"quick", "slow"} {
			_, err := s.Create(t.Context(), box, job{Command: command})
			mustDo(t, err)
		}
		<-started
		<-started
		gone.Store(true)
		close(away)
		start := time.Now()
		stop()
		if took := time.Since(start); took != grace {
			t.Errorf("Run returned after %v, want %v", took, grace)
		}
	})
}

// reused is a backend that uses a key again right before its first Get.
type reused struct {
	backends.Backend
	once *sync.Once
	use  func()
}

func (r *reused) Get(ctx context.Context, store, id string) (backends.Record, error) {
	r.once.Do(r.use)
	return r.Backend.Get(ctx, store, id)
}

// To fail a request, a Worker first reads the stored payload. By then the id may belong to a later
// request, at the same attempt.
func TestAWorkerDoesNotFailALaterRequestOfItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy()
		p.RunningTimeout, p.Retention = time.Second, time.Second
		b := &reused{Backend: memory.New(), once: new(sync.Once)}
		s, key := newStore(t, b, p), pending.WithIdempotencyKey("k")
		first, used := create(t, s, key), make(chan struct{})
		b.use = func() {
			calls.Pass(3 * time.Second)
			create(t, s, key)
			pop(t, s)
			close(used)
		}
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		stop := work(t, s, opts, func(context.Context, *jobClaim) error {
			return errors.New("out of paper")
		})
		<-used
		stop()
		if got := get(t, s, first.ID); got.Status != pending.StatusRunning {
			t.Errorf("the later request is %s, %q; want running", got.Status, got.Error)
		}
	})
}

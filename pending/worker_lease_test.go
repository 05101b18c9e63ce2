package pending_test

import (
	"context"
	"log/slog"
	"runtime"
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

func TestAReleaseByTheHandlerStands(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		start := time.Now()
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, c *jobClaim) error {
			if c.Attempt == 2 {
				return nil
			}
			for _, output := range []string{"first", "last"} { // the Worker sends the last later
				c.Payload.Output = output
				mustDo(t, s.Progress(ctx, c))
				calls.Pass(time.Millisecond)
			}
			released := *c // a copy stands for the same claim
			mustDo(t, s.Release(ctx, &released, 10*time.Minute))
			calls.Pass(5 * time.Minute)
			return ctx.Err()
		})
		got := await(t, s, create(t, s).ID)
		if waited := time.Since(start); waited < 10*time.Minute || waited > 11*time.Minute {
			t.Errorf("the second attempt came after %v, want 10 to 11 minutes", waited)
		}
		if got.Attempt != 2 || got.Payload.Output != "last" || got.Error != "" {
			t.Errorf("got %+v, want the last progress at attempt 2", got)
		}
		stop()
	})
}

func TestAnEndingByTheHandlerDoesNotCancelIt(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		after := make(chan error, 1)
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, c *jobClaim) error {
			mustDo(t, s.Complete(ctx, c))
			calls.Pass(10 * time.Minute)
			after <- context.Cause(ctx)
			return nil
		})
		await(t, s, create(t, s).ID)
		if cause := <-after; cause != nil {
			t.Errorf("the handler's context ended: %v", cause)
		}
		stop()
	})
}

func TestAHandlerThatEndsItsGoroutineLeavesTheRequestToItsLease(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		stop := work(t, s, pending.WorkerOptions{}, func(context.Context, *jobClaim) error {
			runtime.Goexit()
			return nil
		})
		if got := await(t, s, create(t, s).ID); got.Status != pending.StatusTimeout {
			t.Errorf("got %s, want timeout", got.Status)
		}
		stop()
	})
}

func TestAHandlerMayFinishAsCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		finished := make(chan error, 1)
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, c *jobClaim) error {
			<-ctx.Done()
			finished <- s.Finish(context.WithoutCancel(ctx), c, pending.StatusCancelled)
			return nil
		})
		r := create(t, s)
		calls.Pass(5 * time.Second)
		mustDo(t, s.Cancel(t.Context(), r, "enough"))
		got := await(t, s, r.ID)
		if err := <-finished; err != nil || got.Status != "cancelled" || got.Error != "enough" {
			t.Errorf("got %s, %q, %v; want cancelled", got.Status, got.Error, err)
		}
		stop()
	})
}

func TestACancelledRequestEndsAtOnceWhateverItsPayload(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		for _, panics := range []bool{false, true} {
			stop := work(t, s, opts, func(ctx context.Context, c *jobClaim) error {
				<-ctx.Done()
				c.Payload.Output = "\xff"
				if panics {
					c.Payload.Output = "half"
					panic("no disk")
				}
				return ctx.Err()
			})
			r := create(t, s)
			calls.Pass(5 * time.Second)
			start := time.Now()
			mustDo(t, s.Cancel(t.Context(), r, "enough"))
			got := await(t, s, r.ID)
			if took := time.Since(start); took > time.Second || got.Status != "cancelled" ||
				got.Payload.Output != "" {
				t.Errorf("got %s, %q after %v; want cancelled at once without output",
					got.Status, got.Payload.Output, took)
			}
			stop()
		}
	})
}

// mute is a backend without signals. A Worker over it has to look by itself.
type mute struct{ backends.Backend }

func TestACancelBeforeTheFirstWatchIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, mute{memory.New()}, patient())
		begun := make(chan struct{})
		var told time.Duration
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, _ *jobClaim) error {
			start := time.Now()
			close(begun)
			<-ctx.Done()
			told = time.Since(start)
			return ctx.Err()
		})
		r := create(t, s)
		<-begun
		mustDo(t, s.Cancel(t.Context(), r, "enough"))
		await(t, s, r.ID)
		stop()
		if told > time.Second {
			t.Errorf("the handler learned of it after %v, want at most a second", told)
		}
	})
}

// hanging is a backend whose first call of each kind hangs until its context ends.
type hanging struct {
	backends.Backend
	mu   sync.Mutex
	hung map[string]bool
}

func (h *hanging) Unwrap() backends.Backend { return h.Backend }

func (h *hanging) hang(ctx context.Context, kind string) error {
	h.mu.Lock()
	first := !h.hung[kind]
	h.hung[kind] = true
	h.mu.Unlock()
	if !first {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *hanging) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	if err := h.hang(ctx, "claim"); err != nil {
		return nil, err
	}
	return h.Backend.Claim(ctx, c)
}

func (h *hanging) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	if err := h.hang(ctx, "extend"); err != nil {
		return backends.Lease{}, err
	}
	return h.Backend.Extend(ctx, x)
}

func (h *hanging) End(ctx context.Context, e backends.End) (backends.Record, error) {
	if err := h.hang(ctx, "end"); err != nil {
		return backends.Record{}, err
	}
	return h.Backend.End(ctx, e)
}

func TestAWorkerSurvivesCallsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, &hanging{Backend: memory.New(), hung: map[string]bool{}}, policy())
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		stop := work(t, s, opts, func(ctx context.Context, _ *jobClaim) error {
			calls.Pass(10 * time.Minute)
			return ctx.Err()
		})
		if got := await(t, s, create(t, s).ID); got.Status != pending.StatusCompleted {
			t.Errorf("got %s, %s", got.Status, got.Error)
		}
		stop()
	})
}

// An ending may have to wait for a backend that is away for longer than a few tries.
func TestAnEndingOutlastsALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := new(atomic.Bool)
		p := policy()
		p.RunningTimeout = time.Hour
		s := newStore(t, away{memory.New(), gone}, p)
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		stop := work(t, s, opts, func(context.Context, *jobClaim) error {
			gone.Store(true)
			return nil
		})
		r := create(t, s)
		calls.Pass(10 * time.Minute)
		gone.Store(false)
		if got := await(t, s, r.ID); got.Status != pending.StatusCompleted {
			t.Errorf("got %s, %s", got.Status, got.Error)
		}
		stop()
	})
}

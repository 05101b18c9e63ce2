package pending_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// handling is what the handlers of these tests do.
type handling = func(ctx context.Context, c *pending.Claim[job]) error

// work runs a worker for a store until the test calls stop, which waits for it.
func work(
	t *testing.T, s *pending.PendingStore[job], opts pending.WorkerOptions, handle handling,
) (stop func()) {
	t.Helper()
	w, err := pending.NewWorker(box, &opts, pending.Handle(s, handle))
	mustDo(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		mustDo(t, <-ran)
	}
}

// await returns a request once it has ended.
func await(t *testing.T, s *pending.PendingStore[job], id string) *pending.Request[job] {
	t.Helper()
	r, err := s.Await(t.Context(), id)
	mustDo(t, err)
	return r
}

func TestAWorkerHandlesManyRequestsSomeAtATime(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		var running, most atomic.Int32
		stop := work(t, s, pending.WorkerOptions{Concurrency: 4},
			func(_ context.Context, c *pending.Claim[job]) error {
				most.Store(max(most.Load(), running.Add(1)))
				calls.Pass(time.Second)
				running.Add(-1)
				c.Payload.Output = "done " + c.Payload.Command
				return nil
			})
		var made []*pending.Request[job]
		for range 20 {
			made = append(made, create(t, s))
		}
		for _, r := range made {
			if got := await(t, s, r.ID); got.Payload.Output != "done uptime" {
				t.Errorf("got %s with %+v", got.Status, got.Payload)
			}
		}
		if most.Load() != 4 {
			t.Errorf("%d handlers ran at a time, want 4", most.Load())
		}
		stop()
	})
}

func TestAWorkerKeepsTheLeaseOfALongHandler(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, _ *pending.Claim[job]) error {
			calls.Pass(time.Hour)
			return ctx.Err()
		})
		if got := await(t, s, create(t, s).ID); got.Status != pending.StatusCompleted {
			t.Errorf("got %s, %s", got.Status, got.Error)
		}
		stop()
	})
}

func TestWhatAHandlerReturnsDecidesHowItsRequestEnds(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		for name, tc := range map[string]struct {
			handle handling
			status pending.Status
			reason string
		}{
			"an error": {func(context.Context, *pending.Claim[job]) error {
				return errors.New("no disk")
			}, pending.StatusFailed, "no disk"},
			"a panic": {func(context.Context, *pending.Claim[job]) error { panic("hunter2") },
				pending.StatusFailed, "the handler panicked"},
			"an ending of its own": {func(ctx context.Context, c *pending.Claim[job]) error {
				return s.Finish(ctx, c, "conflict")
			}, "conflict", ""},
			"an answer that cannot be stored": {func(_ context.Context, c *pending.Claim[job]) error {
				c.Payload.Output = "\xff"
				return nil
			}, pending.StatusFailed, "job.Output"},
			"one more try": {func(_ context.Context, c *pending.Claim[job]) error {
				if c.Attempt == 1 {
					return pending.Retry(time.Minute, errors.New("busy"))
				}
				return nil
			}, pending.StatusCompleted, ""},
			"too many tries": {func(context.Context, *pending.Claim[job]) error {
				return fmt.Errorf("copy: %w", pending.Retry(0, errors.New("busy")))
			}, pending.StatusFailed, "copy: busy"},
			"a release of its own": {func(ctx context.Context, c *pending.Claim[job]) error {
				if c.Attempt == 1 {
					return s.Release(ctx, c, time.Second)
				}
				return nil
			}, pending.StatusCompleted, ""},
		} {
			var log bytes.Buffer
			stop := work(t, s, pending.WorkerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))},
				tc.handle)
			got := await(t, s, create(t, s).ID)
			if got.Status != tc.status || !strings.Contains(got.Error, tc.reason) ||
				strings.Contains(got.Error, "hunter2") {
				t.Errorf("%s: got %s, %q; want %s, %q", name, got.Status, got.Error, tc.status, tc.reason)
			}
			stop()
			if name == "a panic" && !strings.Contains(log.String(), "hunter2") {
				t.Errorf("the log does not tell the panic: %s", log.String())
			}
		}
	})
}

func TestAHandlerLearnsOfACancelAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		for _, stops := range []bool{true, false} {
			var cause error
			var told time.Duration
			handled := make(chan struct{})
			stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, c *pending.Claim[job]) error {
				defer close(handled)
				start := time.Now()
				<-ctx.Done()
				cause, told = context.Cause(ctx), time.Since(start)
				c.Payload.Output = "as far as it got"
				if stops {
					return ctx.Err()
				}
				return nil
			})
			r := create(t, s)
			calls.Pass(5 * time.Second)
			mustDo(t, s.Cancel(t.Context(), r, "the page was closed"))
			got := await(t, s, r.ID)
			<-handled
			if !errors.Is(cause, pending.ErrCancelRequested) || told != 5*time.Second {
				t.Errorf("the handler was told %v after %v", cause, told)
			}
			want := map[bool]pending.Status{
				true: pending.StatusCancelled, false: pending.StatusCompleted}[stops]
			if got.Status != want || got.Payload.Output != "as far as it got" {
				t.Errorf("got %s, %q; want %s", got.Status, got.Payload.Output, want)
			}
			stop()
		}
	})
}

func TestAHandlerLearnsThatItsClaimIsLost(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		causes := make(chan error)
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, _ *pending.Claim[job]) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		})
		r := create(t, s)
		calls.Pass(5 * time.Second)
		mustDo(t, s.Timeout(t.Context(), r))
		if cause := <-causes; !errors.Is(cause, pending.ErrEnded) {
			t.Errorf("got %v, want ErrEnded", cause)
		}
		stop()
		if got := get(t, s, r.ID); got.Status != pending.StatusTimeout {
			t.Errorf("got %s, want timeout", got.Status)
		}
	})
}

func TestAWorkerDrainsAndReleasesWhatIsNotDone(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		for name, tc := range map[string]struct {
			attempts int
			lasts    time.Duration
			status   pending.Status
			took     time.Duration
		}{
			"done in its grace": {1, 5 * time.Second, pending.StatusCompleted, 5 * time.Second},
			"not done":          {1, time.Hour, pending.StatusPending, 10 * time.Second},
			"not done at last":  {2, time.Hour, pending.StatusFailed, 10 * time.Second},
		} {
			r := create(t, s)
			for range tc.attempts - 1 {
				mustDo(t, s.Release(t.Context(), pop(t, s), 0))
			}
			started := make(chan struct{})
			stop := work(t, s, pending.WorkerOptions{Grace: 10 * time.Second},
				func(ctx context.Context, _ *pending.Claim[job]) error {
					close(started)
					select {
					case <-ctx.Done():
						if cause := context.Cause(ctx); !errors.Is(cause, pending.ErrWorkerStopped) {
							t.Errorf("%s: the handler was told %v", name, cause)
						}
						return ctx.Err()
					case <-time.After(tc.lasts):
						return nil
					}
				})
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

// counting counts the Extends with progress.
type counting struct {
	backends.Backend
	progress *atomic.Int32
}

func (c counting) Unwrap() backends.Backend { return c.Backend }

func (c counting) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	if x.Codec != "" {
		c.progress.Add(1)
	}
	return c.Backend.Extend(ctx, x)
}

func TestAWorkerSendsProgressOnceASecondAndTheLast(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		sent := new(atomic.Int32)
		s := newStore(t, counting{b, sent}, twice())
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, c *pending.Claim[job]) error {
			if c.Attempt == 2 {
				c.Payload.Output += ", then the rest"
				return nil
			}
			for i := range 1000 {
				c.Payload.Output = fmt.Sprint(i)
				if err := s.Progress(ctx, c); err != nil {
					return err
				}
				calls.Pass(10 * time.Millisecond)
			}
			return pending.Retry(0, errors.New("interrupted"))
		})
		if got := await(t, s, create(t, s).ID); got.Payload.Output != "999, then the rest" {
			t.Errorf("got %q, want the last progress", got.Payload.Output)
		}
		if n := sent.Load(); n < 10 || n > 12 {
			t.Errorf("progress was sent %d times in ten seconds", n)
		}
		stop()
	})
}

// away is a backend that sometimes cannot be reached. A claim then may happen nevertheless.
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
		stop := work(t, s, pending.WorkerOptions{Concurrency: 2, Logger: slog.New(slog.DiscardHandler)},
			func(ctx context.Context, c *pending.Claim[job]) error {
				mu.Lock()
				handled[c.ID]++
				mu.Unlock()
				calls.Pass(5 * time.Minute)
				return ctx.Err()
			})
		first := create(t, s)
		calls.Pass(4*time.Minute + 50*time.Second)
		gone.Store(true)
		second := create(t, s)  // its claim's reply is lost
		calls.Pass(time.Minute) // and so is the first's ending
		gone.Store(false)
		for _, r := range []*pending.Request[job]{first, second} {
			if got := await(t, s, r.ID); got.Status != pending.StatusCompleted {
				t.Errorf("got %s, %s", got.Status, got.Error)
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
		stop := work(t, s, pending.WorkerOptions{
			Concurrency: 2, Grace: grace, Logger: slog.New(slog.DiscardHandler)},
			func(ctx context.Context, c *pending.Claim[job]) error {
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

func TestAWorkerWithFewSlotsServesAllItsStores(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		var handlers []pending.Handler
		var stores []*pending.PendingStore[job]
		for i := range 5 {
			p := policy()
			p.Name = fmt.Sprint("store", i)
			s := newStore(t, b, p)
			stores = append(stores, s)
			handlers = append(handlers, pending.Handle(s,
				func(context.Context, *pending.Claim[job]) error { return nil }))
		}
		w, err := pending.NewWorker(box, &pending.WorkerOptions{Concurrency: 2}, handlers...)
		mustDo(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- w.Run(ctx) }()
		for _, i := range []int{4, 0, 2, 2, 3, 1, 4} {
			if got := await(t, stores[i], create(t, stores[i]).ID); got.Status != pending.StatusCompleted {
				t.Errorf("store %d: got %s", i, got.Status)
			}
		}
		cancel()
		mustDo(t, <-ran)
		if err := w.Run(t.Context()); !errors.Is(err, pending.ErrInvalid) {
			t.Errorf("a second Run: got %v, want ErrInvalid", err)
		}
	})
}

func TestWorkersThatCannotWorkAreRefused(t *testing.T) {
	b := memory.New()
	nothing := func(context.Context, *pending.Claim[job]) error { return nil }
	good := pending.Handle(newStore(t, b, policy()), nothing)
	elsewhere, err := pending.New(memory.New(), codec.JSON[job](), pending.Policy{Name: "x",
		PendingTimeout: time.Minute, RunningTimeout: time.Minute, Retention: time.Minute})
	mustDo(t, err)
	for want, try := range map[string]func() (*pending.Worker, error){
		"mailbox is empty": func() (*pending.Worker, error) { return pending.NewWorker("", nil, good) },
		"no stores":        func() (*pending.Worker, error) { return pending.NewWorker(box, nil) },
		"twice":            func() (*pending.Worker, error) { return pending.NewWorker(box, nil, good, good) },
		"another backend": func() (*pending.Worker, error) {
			return pending.NewWorker(box, nil, good, pending.Handle(elsewhere, nothing))
		},
		"Concurrency is -1": func() (*pending.Worker, error) {
			return pending.NewWorker(box, &pending.WorkerOptions{Concurrency: -1}, good)
		},
	} {
		if _, err := try(); !errors.Is(err, pending.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrInvalid that says %s", err, want)
		}
	}
}

func TestABusyStoreStarvesNoOther(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		busy, quiet := newStore(t, b, policy()), newNotes(t, b)
		for range 50 {
			create(t, busy)
		}
		r, err := quiet.Create(t.Context(), box, note{})
		mustDo(t, err)
		w, err := pending.NewWorker(box, nil,
			pending.Handle(busy, func(context.Context, *pending.Claim[job]) error {
				calls.Pass(time.Second)
				return nil
			}),
			pending.Handle(quiet, func(context.Context, *pending.Claim[note]) error { return nil }))
		mustDo(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		start := time.Now()
		go func() { ran <- w.Run(ctx) }()
		_, err = quiet.Await(t.Context(), r.ID)
		mustDo(t, err)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the quiet store was served after %v", took)
		}
		cancel()
		mustDo(t, <-ran)
	})
}

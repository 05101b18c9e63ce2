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
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// handler handles the claims of a worker in these tests.
type handler = func(ctx context.Context, c *jobClaim) error

// work runs a worker for a store. Stop ends it and waits for it.
func work(t *testing.T, s *jobStore, opts pending.WorkerOptions, handle handler) (stop func()) {
	t.Helper()
	w, err := pending.NewWorker(box, &opts, pending.Handle(s, handle))
	mustDo(t, err)
	return run(t, w)
}

// run runs a worker. Stop ends it and waits for it.
func run(t *testing.T, w *pending.Worker) (stop func()) {
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
func await(t *testing.T, s *jobStore, id string) *jobRequest {
	t.Helper()
	r, err := s.Await(t.Context(), id)
	mustDo(t, err)
	return r
}

func TestAWorkerRunsAsManyHandlersAsItMay(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		var mu sync.Mutex
		running, most := 0, 0
		stop := work(t, s, pending.WorkerOptions{Concurrency: 4},
			func(_ context.Context, c *jobClaim) error {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				calls.Pass(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				c.Payload.Output = "done " + c.Payload.Command
				return nil
			})
		var made []*jobRequest
		for range 20 {
			made = append(made, create(t, s))
		}
		for _, r := range made {
			if got := await(t, s, r.ID); got.Payload.Output != "done uptime" {
				t.Errorf("got %s with %+v", got.Status, got.Payload)
			}
		}
		if most != 4 {
			t.Errorf("%d handlers ran at a time, want 4", most)
		}
		stop()
	})
}

func TestAWorkerKeepsTheLeaseOfALongHandler(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, _ *jobClaim) error {
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
		fail := func(err error) handler {
			return func(context.Context, *jobClaim) error { return err }
		}
		retry := pending.Retry(time.Minute, errors.New("busy"))
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		for name, tc := range map[string]struct {
			handle handler
			status pending.Status
			reason string
		}{
			"an error": {fail(errors.New("no disk")), pending.StatusFailed, "no disk"},
			"a retry":  {firstAttempt(fail(retry)), pending.StatusCompleted, ""},
			"a retry each time": {fail(fmt.Errorf("copy: %w", retry)),
				pending.StatusFailed, "copy: busy"},
			"a retry of nothing": {fail(pending.Retry(time.Minute, nil)),
				pending.StatusCompleted, ""},
			"a retry in the past": {firstAttempt(fail(pending.Retry(-1, errors.New("busy")))),
				pending.StatusCompleted, ""},
			"a nil error with a type":  {fail((*fragile)(nil)), pending.StatusFailed, "panicked"},
			"an error without a cause": {fail((*hollow)(nil)), pending.StatusFailed, "panicked"},
			"an unencodable answer": {func(_ context.Context, c *jobClaim) error {
				c.Payload.Output = "\xff"
				return nil
			}, pending.StatusFailed, "job.Output"},
			"nil after Finish": {func(ctx context.Context, c *jobClaim) error {
				return s.Finish(ctx, c, "conflict")
			}, "conflict", ""},
			"nil after Release": {firstAttempt(func(ctx context.Context, c *jobClaim) error {
				return s.Release(ctx, c, time.Second)
			}), pending.StatusCompleted, ""},
		} {
			stop := work(t, s, opts, tc.handle)
			got := await(t, s, create(t, s).ID)
			if got.Status != tc.status || !strings.Contains(got.Error, tc.reason) {
				t.Errorf("%s: got %s, %q; want %s, %q",
					name, got.Status, got.Error, tc.status, tc.reason)
			}
			stop()
		}
	})
}

// fragile is an error. A nil one panics.
type fragile struct{ text string }

func (f *fragile) Error() string { return f.text }

// hollow is an error. The Unwrap of a nil one panics.
type hollow struct{ cause error }

func (*hollow) Error() string   { return "hollow" }
func (h *hollow) Unwrap() error { return h.cause }

// firstAttempt makes a handler that does nothing after the first attempt.
func firstAttempt(handle handler) handler {
	return func(ctx context.Context, c *jobClaim) error {
		if c.Attempt > 1 {
			return nil
		}
		return handle(ctx, c)
	}
}

func TestOnlyTheLogTellsWhatAHandlerPanickedWith(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		var log bytes.Buffer
		opts := pending.WorkerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		stop := work(t, s, opts, func(context.Context, *jobClaim) error { panic("hunter2") })
		got := await(t, s, create(t, s).ID)
		if got.Status != pending.StatusFailed || got.Error != "the handler panicked" {
			t.Errorf("got %s, %q; want failed because the handler panicked", got.Status, got.Error)
		}
		stop()
		if !strings.Contains(log.String(), "hunter2") {
			t.Errorf("the log does not have the text of the panic: %s", log.String())
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
			handle := func(ctx context.Context, c *jobClaim) error {
				defer close(handled)
				start := time.Now()
				<-ctx.Done()
				cause, told = context.Cause(ctx), time.Since(start)
				c.Payload.Output = "partial"
				if stops {
					return ctx.Err()
				}
				return nil
			}
			stop := work(t, s, pending.WorkerOptions{}, handle)
			r := create(t, s)
			calls.Pass(5 * time.Second)
			mustDo(t, s.Cancel(t.Context(), r, "the page was closed"))
			got := await(t, s, r.ID)
			<-handled
			if !errors.Is(cause, pending.ErrCancelRequested) || told != 5*time.Second {
				t.Errorf("the handler learned of %v after %v, want ErrCancelRequested after 5s",
					cause, told)
			}
			want := map[bool]pending.Status{
				true: pending.StatusCancelled, false: pending.StatusCompleted}[stops]
			if got.Status != want || got.Payload.Output != "partial" {
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
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, _ *jobClaim) error {
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

// counting counts calls of Extend that send progress.
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
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, c *jobClaim) error {
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
			t.Errorf("progress was sent %d times in ten seconds, want 10 to 12", n)
		}
		stop()
	})
}

func TestAWorkerWithFewSlotsServesAllItsStores(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		var handlers []pending.Handler
		var stores []*jobStore
		for i := range 5 {
			p := policy()
			p.Name = fmt.Sprint("store", i)
			s := newStore(t, b, p)
			stores = append(stores, s)
			handlers = append(handlers, pending.Handle(s,
				func(context.Context, *jobClaim) error { return nil }))
		}
		w, err := pending.NewWorker(box, &pending.WorkerOptions{Concurrency: 2}, handlers...)
		mustDo(t, err)
		stop := run(t, w)
		for _, i := range []int{4, 0, 2, 2, 3, 1, 4} {
			got := await(t, stores[i], create(t, stores[i]).ID)
			if got.Status != pending.StatusCompleted {
				t.Errorf("store %d: got %s, want completed", i, got.Status)
			}
		}
		stop()
		checkErr(t, "a second Run", w.Run(t.Context()), pending.ErrInvalid)
	})
}

func TestInvalidWorkersAreRefused(t *testing.T) {
	b := memory.New()
	nothing := func(context.Context, *jobClaim) error { return nil }
	good := pending.Handle(newStore(t, b, policy()), nothing)
	p := policy()
	p.Name = "elsewhere"
	handleElsewhere := pending.Handle(newStore(t, memory.New(), p), nothing)
	negative := &pending.WorkerOptions{Concurrency: -1}
	unhandled := pending.Handle[job](newStore(t, b, policy()), nil)
	for want, err := range map[string]error{
		"mailbox is empty":  failure(pending.NewWorker("", nil, good)),
		"no stores":         failure(pending.NewWorker(box, nil)),
		"twice":             failure(pending.NewWorker(box, nil, good, good)),
		"another backend":   failure(pending.NewWorker(box, nil, good, handleElsewhere)),
		"no function":       failure(pending.NewWorker(box, nil, unhandled)),
		"Concurrency is -1": failure(pending.NewWorker(box, negative, good)),
	} {
		checkInvalid(t, err, want)
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
			pending.Handle(busy, func(context.Context, *jobClaim) error {
				calls.Pass(time.Second)
				return nil
			}),
			pending.Handle(quiet, func(context.Context, *pending.Claim[note]) error { return nil }))
		mustDo(t, err)
		start := time.Now()
		stop := run(t, w)
		_, err = quiet.Await(t.Context(), r.ID)
		mustDo(t, err)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the request of the quiet store ended after %v, want at most 2s", took)
		}
		stop()
	})
}

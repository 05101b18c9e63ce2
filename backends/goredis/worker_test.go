package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

// endings is a Backend that counts the accepted endings of each request.
type endings struct {
	backends.Backend
	mu sync.Mutex
	of map[string]int
}

func (e *endings) Unwrap() backends.Backend { return e.Backend }

func (e *endings) count(id string, rec backends.Record, err error) {
	if err == nil && rec.Ended() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.of[id]++
	}
}

func (e *endings) End(ctx context.Context, end backends.End) (backends.Record, error) {
	rec, err := e.Backend.End(ctx, end)
	e.count(end.ID, rec, err)
	return rec, err
}

func (e *endings) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	rec, err := e.Backend.Cancel(ctx, c)
	e.count(c.ID, rec, err)
	return rec, err
}

// errand is the payload of requests to workers.
type errand struct {
	Work   time.Duration // how long the handler works
	Answer string
}

// handle works on an errand. Now and then it panics, or asks for another attempt.
func handle(ctx context.Context, c *pending.Claim[errand]) error {
	switch rand.IntN(10) {
	case 0:
		panic("a handler may panic")
	case 1:
		return pending.Retry(50*time.Millisecond, errors.New("not now"))
	}
	select {
	case <-time.After(c.Payload.Work):
		c.Payload.Answer = "done"
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errands is a store of errands, with its server and the endings that its backend accepts.
type errands struct {
	*testing.T
	*pending.PendingStore[errand]
	server  *redistest.Server
	ends    *endings
	workers sync.WaitGroup
}

func newErrands(t *testing.T) *errands {
	t.Helper()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	ends := &endings{of: map[string]int{}, Backend: newBackend(t, server.Client(t),
		&goredis.Options{PollInterval: 100 * time.Millisecond})}
	store, err := pending.New(ends, codec.JSON[errand](), pending.Policy{Name: "errand",
		PendingTimeout: time.Minute, RunningTimeout: time.Second, Retention: 10 * time.Minute,
		CancelGrace: time.Second, MaxAttempts: 9})
	if err != nil {
		t.Fatal(err)
	}
	return &errands{T: t, PendingStore: store, server: server, ends: ends}
}

// startWorker starts a worker with five handlers. Its Run must return no error after stop.
func (e *errands) startWorker() (stop func()) {
	e.Helper()
	w, err := pending.NewWorker(box, &pending.WorkerOptions{Concurrency: 5, Grace: time.Second,
		Logger: slog.New(slog.DiscardHandler)}, pending.Handle(e.PendingStore, handle))
	if err != nil {
		e.Fatal(err)
	}
	ctx, stop := context.WithCancel(e.Context())
	e.workers.Go(func() {
		if err := w.Run(ctx); err != nil {
			e.Errorf("Run: %v", err)
		}
	})
	return stop
}

// insistOn repeats a call until the server has decided it.
func (e *errands) insistOn(call func(ctx context.Context) error) {
	e.Helper()
	if err := insist(e.Context(), call); err != nil && !decided(err) {
		e.Error(err)
	}
}

// create creates n errands. Meanwhile it cancels some errands, loses some claims, kills the server
// three times, and calls halfway.
func (e *errands) create(n int, halfway func()) []*pending.Request[errand] {
	e.Helper()
	made := make([]*pending.Request[errand], n)
	for i := range made {
		key := pending.WithIdempotencyKey(fmt.Sprint(i))
		work := errand{Work: rand.N(200 * time.Millisecond)}
		e.insistOn(func(ctx context.Context) (err error) {
			made[i], err = e.Create(ctx, box, work, key)
			return err
		})
		switch {
		case i%8 == 1:
			e.insistOn(func(ctx context.Context) error { return e.Cancel(ctx, made[i], "") })
		case i%8 == 2: // a worker that claims and then vanishes
			_, _ = e.PopPending(e.Context(), box) // if there is a request
		case i%60 == 30:
			e.server.Kill()
			e.server.Restart()
		case i == n/2:
			halfway()
		}
	}
	return made
}

// Two workers with ten handlers meet a server that is killed three times, lost claims, cancels, and
// the shutdown of one worker.
func TestWorkersEndEveryRequestOnce(t *testing.T) {
	parallel(t)
	const n = 200
	e := newErrands(t)
	stopFirst, stopSecond := e.startWorker(), e.startWorker()
	defer stopFirst()
	defer stopSecond()
	made := e.create(n, stopFirst)
	for _, r := range made {
		e.insistOn(func(ctx context.Context) error {
			_, err := e.Await(ctx, r.ID)
			return err
		})
	}
	stopSecond()
	e.workers.Wait()
	statuses := map[pending.Status]int{}
	for _, r := range made {
		got, err := e.Get(t.Context(), r.ID)
		if err != nil || !got.Status.Ended() || e.ends.of[r.ID] > 1 {
			t.Errorf("%s: got %v, %v, ended %d times", r.ID, got, err, e.ends.of[r.ID])
			continue
		}
		statuses[got.Status]++
	}
	if statuses[pending.StatusCompleted] < n/2 || statuses[pending.StatusCancelled] == 0 {
		t.Errorf("got %v, want most completed and some cancelled", statuses)
	}
	t.Log(statuses)
}

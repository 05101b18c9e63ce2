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

// endings counts the endings that a backend accepts, by request.
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
	Work   time.Duration // how long its handler works
	Answer string
}

// handle works on an errand, panics now and then, and sometimes wants another attempt.
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

// Ten handlers of two workers meet a server that is killed three times, workers that vanish with
// their claims, cancels, and the shutdown of one of them.
func TestWorkersEndEveryRequestOnce(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	counted := &endings{Backend: newBackend(t, server.Client(t),
		&goredis.Options{PollInterval: 100 * time.Millisecond}), of: map[string]int{}}
	errands, err := pending.New(counted, codec.JSON[errand](), pending.Policy{Name: "errand",
		PendingTimeout: time.Minute, RunningTimeout: time.Second, Retention: 10 * time.Minute,
		CancelGrace: time.Second, MaxAttempts: 9})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	start := func(ctx context.Context) (stopped chan error) {
		w, err := pending.NewWorker(box, &pending.WorkerOptions{Concurrency: 5,
			Grace: time.Second, Logger: quiet}, pending.Handle(errands, handle))
		if err != nil {
			t.Fatal(err)
		}
		stopped = make(chan error, 1)
		go func() { stopped <- w.Run(ctx) }()
		return stopped
	}
	firstCtx, stopFirst := context.WithCancel(t.Context())
	secondCtx, stopSecond := context.WithCancel(t.Context())
	defer stopFirst()
	defer stopSecond()
	first, second := start(firstCtx), start(secondCtx)

	const n = 200
	made := make([]*pending.Request[errand], n)
	insistOn := func(call func(ctx context.Context) error) {
		t.Helper()
		if err := insist(t.Context(), call); err != nil && !decided(err) {
			t.Error(err)
		}
	}
	for i := range made {
		key := pending.WithIdempotencyKey(fmt.Sprint(i))
		work := errand{Work: rand.N(200 * time.Millisecond)}
		insistOn(func(ctx context.Context) (err error) {
			made[i], err = errands.Create(ctx, box, work, key)
			return err
		})
		switch {
		case i%8 == 1: // the requester changes its mind
			insistOn(func(ctx context.Context) error { return errands.Cancel(ctx, made[i], "") })
		case i%8 == 2: // a worker claims, and is never seen again
			_, _ = errands.PopPending(t.Context(), box) // if there is something to claim
		case i%60 == 30:
			server.Kill()
			server.Restart()
		case i == n/2:
			stopFirst()
		}
	}
	for _, r := range made {
		insistOn(func(ctx context.Context) (err error) {
			_, err = errands.Await(ctx, r.ID)
			return err
		})
	}
	stopSecond()
	for _, stopped := range []chan error{first, second} {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}
	statuses := map[pending.Status]int{}
	for _, r := range made {
		got, err := errands.Get(t.Context(), r.ID)
		if err != nil || !got.Status.Ended() || counted.of[r.ID] > 1 {
			t.Errorf("%s: got %v, %v, ended %d times", r.ID, got, err, counted.of[r.ID])
			continue
		}
		statuses[got.Status]++
	}
	if statuses[pending.StatusCompleted] < n/2 || statuses[pending.StatusCancelled] == 0 {
		t.Errorf("got %v, want most completed and some cancelled", statuses)
	}
	t.Log(statuses)
}

package pending_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
)

// A network client may wait for a frozen server until its context ends. The Worker waits for the
// handler's call, but only as long as the lease lasts.
func TestAnOperationThatHangsEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := map[string]bool{"claim": true, "extend": true}
		s := newStore(t, &hanging{Backend: memory.New(), hung: healthy}, policy())
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		ended := make(chan error, 1)
		stop := work(t, s, opts, func(ctx context.Context, c *jobClaim) error {
			if s.Complete(ctx, c) == nil {
				t.Error("Complete did not hang")
			}
			ended <- context.Cause(ctx)
			return nil // the Worker tries it once more
		})
		r := create(t, s)
		select {
		case cause := <-ended:
			checkErr(t, "the cause", cause, pending.ErrStaleClaim)
		case <-time.After(time.Hour):
			t.Error("the handler's context has not ended an hour later")
		}
		if got := await(t, s, r.ID); got.Status != pending.StatusCompleted {
			t.Errorf("got %s, %s; want completed", got.Status, got.Error)
		}
		stop()
	})
}

// damaged is a backend whose stored payloads cannot be read.
type damaged struct{ backends.Backend }

func (d damaged) Unwrap() backends.Backend { return d.Backend }

func (d damaged) Get(_ context.Context, _, id string) (backends.Record, error) {
	return backends.Record{}, &backends.CorruptError{ID: id, Err: errors.New("it has no payload")}
}

func TestARequestWhoseStoredPayloadIsDamagedFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		stop := work(t, newStore(t, damaged{b}, policy()), opts,
			func(context.Context, *jobClaim) error { return errors.New("no disk") })
		s := newStore(t, b, policy())
		awaitWithin(t, s, create(t, s).ID, time.Second, pending.StatusFailed, "no disk")
		stop()
	})
}

// narrow is a backend that takes only small payloads, like a server with a limit for its bodies.
type narrow struct{ backends.Backend }

func (n narrow) Unwrap() backends.Backend { return n.Backend }

func (n narrow) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	if len(x.Payload) > 1000 {
		return backends.Lease{}, pending.ErrTooLarge
	}
	return n.Backend.Extend(ctx, x)
}

func (n narrow) End(ctx context.Context, e backends.End) (backends.Record, error) {
	if len(e.Payload) > 1000 {
		return backends.Record{}, pending.ErrTooLarge
	}
	return n.Backend.End(ctx, e)
}

func TestAPayloadThatIsTooLargeForTheBackendFailsTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, narrow{memory.New()}, policy())
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		var result error
		stop := work(t, s, opts, func(ctx context.Context, c *jobClaim) error {
			c.Payload.Output = string(make([]byte, 1000))
			mustDo(t, s.Progress(ctx, c))
			return result
		})
		awaitWithin(t, s, create(t, s).ID, time.Second, pending.StatusFailed, "too large")
		result = errors.New("no disk")
		awaitWithin(t, s, create(t, s).ID, time.Second, pending.StatusFailed, "no disk")
		stop()
	})
}

func TestProgressAfterAnEndingOrAReleaseIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, memory.New(), twice())
		stop := work(t, s, pending.WorkerOptions{}, func(ctx context.Context, c *jobClaim) error {
			if c.Attempt == 1 {
				mustDo(t, s.Release(ctx, c, 0))
				checkErr(t, "after a Release", s.Progress(ctx, c), pending.ErrStaleClaim)
				return nil
			}
			mustDo(t, s.Complete(ctx, c))
			checkErr(t, "after Complete", s.Progress(ctx, c), pending.ErrEnded)
			return nil
		})
		await(t, s, create(t, s).ID)
		stop()
	})
}

// unreadable is a backend whose running requests cannot be read.
type unreadable struct{ backends.Backend }

func (u unreadable) Unwrap() backends.Backend { return u.Backend }

func (u unreadable) End(_ context.Context, e backends.End) (backends.Record, error) {
	return backends.Record{}, &backends.CorruptError{ID: e.ID, Err: errors.New("it is damaged")}
}

func TestARequestThatCannotBeReadGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, unreadable{memory.New()}, policy())
		handled := make(chan string, 2)
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		start := time.Now()
		stop := work(t, s, opts, func(_ context.Context, c *jobClaim) error {
			handled <- c.ID
			return nil
		})
		for range 2 {
			create(t, s)
			<-handled
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("the second request was handled after %v, want at once", took)
		}
		stop()
	})
}

// final is a backend whose first claim finds nothing and ends a context.
type final struct {
	backends.Backend
	end    func()
	claims int
}

func (f *final) Claim(_ context.Context, c backends.Claim) ([]backends.Claimed, error) {
	f.end()
	f.claims++
	return make([]backends.Claimed, len(c.From)), nil
}

func TestAWorkerAsksNoOtherStoreAfterItsEnd(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	b := &final{memory.New(), end, 0}
	nothing := func(context.Context, *jobClaim) error { return nil }
	other := policy()
	other.Name = "other"
	w, err := pending.NewWorker(box, nil, pending.Handle(newStore(t, b, policy()), nothing),
		pending.Handle(newStore(t, b, other), nothing))
	mustDo(t, err)
	mustDo(t, w.Run(ctx))
	if b.claims != 1 {
		t.Errorf("the worker claimed %d times, want once", b.claims)
	}
}

// awaitWithin checks that a request ends in time with a status and a reason.
func awaitWithin(t *testing.T, s *jobStore, id string, patience time.Duration,
	status pending.Status, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Await(ctx, id)
	if err != nil || r.Status != status || !strings.Contains(r.Error, reason) {
		t.Errorf("got %+v, %v; want %s, %q", r, err, status, reason)
	}
}

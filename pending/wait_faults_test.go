package pending_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// slow is a backend whose claims wait for the test.
type slow struct {
	backends.Backend
	claiming chan struct{} // receives a value when a claim begins
	finish   chan struct{} // a value from the test finishes the claim
}

func (b slow) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	b.claiming <- struct{}{}
	select {
	case <-b.finish:
		return b.Backend.Claim(ctx, c)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestAClaimInFlightSurvivesTheEndOfItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow{memory.New(), make(chan struct{}), make(chan struct{})}
		s := newStore(t, b, policy())
		made := create(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		claimed := later(func() (*jobClaim, error) { return s.AwaitPending(ctx, box) })
		<-b.claiming
		cancel()
		calls.Pass(time.Second)
		b.finish <- struct{}{}
		if got := <-claimed; got.err != nil || got.value.ID != made.ID {
			t.Errorf("got %v, %v, want the request", got.value, got.err)
		}

		hopeless := later(func() (*jobClaim, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.AwaitPending(ctx, box)
		})
		<-b.claiming
		got := <-hopeless
		checkErr(t, "a backend that hangs", got.err, context.DeadlineExceeded)
		if got.after != 3*time.Second {
			t.Errorf("a backend that hangs: got the error after %v, want 3s", got.after)
		}
	})
}

// frozen is a backend whose server does not answer. It acts like a network client: it observes the
// deadline of a context but not its cancellation, and it has a long timeout.
type frozen struct{ backends.Backend }

const frozenTimeout = time.Minute

func (frozen) hang(ctx context.Context) error {
	timeout := frozenTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	<-time.After(timeout)
	return errors.New("i/o timeout")
}

func (b frozen) Claim(ctx context.Context, _ backends.Claim) ([]backends.Claimed, error) {
	return nil, b.hang(ctx)
}

func (b frozen) Get(ctx context.Context, _, _ string) (backends.Record, error) {
	return backends.Record{}, b.hang(ctx)
}

func TestAWaitKeepsItsDeadlineWhileTheServerIsFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, frozen{memory.New()}, policy())
		in, err := pending.NewInbox(s)
		mustDo(t, err)
		const timeout, grace = 500 * time.Millisecond, 2 * time.Second
		for name, wait := range map[string]func(ctx context.Context) error{
			"Await": func(ctx context.Context) error {
				_, err := s.Await(ctx, backends.NewID(box))
				return err
			},
			"AwaitPending": func(ctx context.Context) error {
				_, err := s.AwaitPending(ctx, box)
				return err
			},
			"Inbox.Await": func(ctx context.Context) error {
				_, err := in.Await(ctx, box)
				return err
			},
		} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			err := wait(ctx)
			cancel()
			took := time.Since(start)
			if took > timeout+grace || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v after %v, want the context's error", name, err, took)
			}
		}
	})
}

// seldom is a backend that need not be polled for a year.
type seldom struct {
	backends.Backend
	backends.Waker
}

func (seldom) PollInterval() time.Duration { return 365 * 24 * time.Hour }

func TestALongPollIntervalHidesNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		s := newStore(t, seldom{b, b}, policy())
		got := <-awaitLater(t, s, create(t, s).ID)
		limit := time.Minute + 10*time.Millisecond
		if got.err != nil || got.value.Status != pending.StatusTimeout || got.after > limit {
			t.Errorf("got %v, %v after %v, want timeout after 1m", got.value, got.err, got.after)
		}
	})
}

// spoilt is a backend with a request that no claim can read.
type spoilt struct {
	backends.Backend
	backends.Waker
}

func (b spoilt) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	claimed, err := b.Backend.Claim(ctx, c)
	if err == nil {
		unreadable := &backends.CorruptError{ID: "1", Err: errors.New("it is damaged")}
		claimed[0].Errs = append(claimed[0].Errs, unreadable)
	}
	return claimed, err
}

func TestAClaimIsAwaitedBesideADamagedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		s := newStore(t, spoilt{b, b}, policy())
		waiting := claimLater(t, s)
		calls.Pass(time.Second)
		made := create(t, s)
		got := <-waiting
		if got.value == nil || got.value.ID != made.ID || got.after != time.Second {
			t.Errorf("got %v, %v after %v, want the claim after 1s", got.value, got.err, got.after)
		}
		_, damaged := errors.AsType[*pending.DecodeError](got.err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.AwaitPending(ctx, box)
		_, alsoDamaged := errors.AsType[*pending.DecodeError](err)
		if !damaged || !alsoDamaged || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got the errors %v and %v, want both to name the damaged one", got.err, err)
		}
	})
}

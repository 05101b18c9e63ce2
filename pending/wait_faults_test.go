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

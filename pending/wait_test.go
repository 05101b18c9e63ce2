package pending_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// blind hides what a backend can do beyond backends.Backend.
type blind struct{ backends.Backend }

// answer is what a call that waits returned, and when.
type answer[T any] struct {
	value T
	err   error
	after time.Duration
}

// later makes a call in the background.
func later[T any](call func() (T, error)) <-chan answer[T] {
	done := make(chan answer[T], 1)
	start := time.Now()
	go func() {
		value, err := call()
		done <- answer[T]{value, err, time.Since(start)}
	}()
	return done
}

func TestAwaitReturnsAtTheEnding(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		made := create(t, s)
		waiting := later(func() (*pending.Request[job], error) { return s.Await(t.Context(), made.ID) })
		calls.Pass(5 * time.Second)
		r := pop(t, s)
		r.Payload.Output = "up"
		mustDo(t, s.Complete(t.Context(), r))
		got := <-waiting
		mustDo(t, got.err)
		if got.value.Status != pending.StatusCompleted || got.value.Payload.Output != "up" || got.after != 5*time.Second {
			t.Errorf("got %s with %q after %v, want the answer at once", got.value.Status, got.value.Payload.Output, got.after)
		}
	})
}

func TestAwaitReturnsAtTheDeadline(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		made := create(t, s)
		calls.Pass(20 * time.Second)
		waiting := later(func() (*pending.Request[job], error) { return s.Await(t.Context(), made.ID) })
		got := <-waiting
		mustDo(t, got.err)
		if got.value.Status != pending.StatusTimeout || got.after > 40*time.Second+10*time.Millisecond {
			t.Errorf("got %s after %v, want the timeout 40s later", got.value.Status, got.after)
		}
	})
}

func TestAwaitAtTheEndOfItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		made := create(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := s.Await(ctx, made.ID)
		if !errors.Is(err, context.DeadlineExceeded) || r == nil || r.Status != pending.StatusPending {
			t.Errorf("got %v with error %v, want the request as it stands and the context's error", r, err)
		}
		if r, err := s.AwaitPending(ctx, box); r != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("AwaitPending got %v, %v", r, err)
		}
		if pop(t, s).ID != made.ID {
			t.Error("a wait that was over claimed something")
		}
	})
}

func TestAwaitRefusesAsGetDoes(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		made := create(t, s)
		for name, tc := range map[string]struct {
			id   string
			opts []pending.GetOption
			want error
		}{
			"no id":           {"", nil, pending.ErrInvalid},
			"no such request": {backends.NewID(box), nil, pending.ErrNotFound},
			"another mailbox": {made.ID, []pending.GetOption{pending.InMailbox("other")}, pending.ErrNotFound},
		} {
			if r, err := s.Await(t.Context(), tc.id, tc.opts...); r != nil || !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, %v, want %v", name, r, err, tc.want)
			}
		}
		if _, err := s.AwaitPending(t.Context(), ""); !errors.Is(err, pending.ErrInvalid) {
			t.Errorf("AwaitPending without a mailbox: got %v", err)
		}
	})
}

func TestAwaitPendingClaimsWhatComes(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		waiting := later(func() (*pending.Claim[job], error) { return s.AwaitPending(t.Context(), box) })
		calls.Pass(5 * time.Second)
		made := create(t, s)
		got := <-waiting
		mustDo(t, got.err)
		if got.value.ID != made.ID || got.value.Status != pending.StatusRunning || got.after != 5*time.Second {
			t.Errorf("got %s %s after %v", got.value.ID, got.value.Status, got.after)
		}
	})
}

func TestManyWaitersShareTheWorkWithoutTakingItTwice(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		const n = 50
		var mu sync.Mutex
		claimed := map[string]int{}
		var workers sync.WaitGroup
		for range n {
			workers.Go(func() {
				r, err := s.AwaitPending(t.Context(), box)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				claimed[r.ID]++
			})
		}
		synctest.Wait()
		for range n {
			create(t, s)
		}
		workers.Wait()
		if len(claimed) != n {
			t.Errorf("%d requests were claimed by %d waiters, want one each", len(claimed), n)
		}
	})
}

func TestAwaitPendingFindsALapsedClaim(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		p := policy()
		p.MaxAttempts = 2
		s := newStore(t, b, p)
		made := create(t, s)
		pop(t, s)
		got := <-later(func() (*pending.Claim[job], error) { return s.AwaitPending(t.Context(), box) })
		mustDo(t, got.err)
		if got.value.ID != made.ID || got.value.Attempt != 2 || got.after > p.RunningTimeout+20*time.Second {
			t.Errorf("got attempt %d after %v", got.value.Attempt, got.after)
		}
	})
}

func TestMemorySignalsALapseItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy()
		p.MaxAttempts = 2
		s := newStore(t, memory.New(), p)
		create(t, s)
		first := pop(t, s)
		calls.Pass(p.RunningTimeout / 2)
		mustDo(t, s.Extend(t.Context(), first))
		got := <-later(func() (*pending.Claim[job], error) { return s.AwaitPending(t.Context(), box) })
		mustDo(t, got.err)
		if got.after > p.RunningTimeout+time.Second {
			t.Errorf("got it after %v, want %v", got.after, p.RunningTimeout)
		}
	})
}

func TestABackendThatCannotSignalIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, blind{memory.New()}, policy())
		claiming := later(func() (*pending.Claim[job], error) { return s.AwaitPending(t.Context(), box) })
		calls.Pass(5 * time.Second)
		made := create(t, s)
		reading := later(func() (*pending.Request[job], error) { return s.Await(t.Context(), made.ID) })
		claimed := <-claiming
		mustDo(t, claimed.err)
		mustDo(t, s.Complete(t.Context(), claimed.value))
		read := <-reading
		mustDo(t, read.err)
		if claimed.after > 6*time.Second || read.after > 2*time.Second || !read.value.Status.Ended() {
			t.Errorf("claimed after %v, read after %v as %s", claimed.after, read.after, read.value.Status)
		}
	})
}

// decorated is a decorator that says what it wraps.
type decorated struct{ backends.Backend }

func (d decorated) Unwrap() backends.Backend { return d.Backend }

func TestADecoratorKeepsWaitersAwake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, decorated{memory.New()}, policy())
		claiming := later(func() (*pending.Claim[job], error) { return s.AwaitPending(t.Context(), box) })
		calls.Pass(5 * time.Second)
		create(t, s)
		if got := <-claiming; got.err != nil || got.after != 5*time.Second {
			t.Errorf("got it after %v, %v; want it at once", got.after, got.err)
		}
	})
}

// slow claims only when it is told to.
type slow struct {
	backends.Backend
	claiming chan struct{} // gets a value when a claim begins
	finish   chan struct{} // lets it go on
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

func TestAClaimThatIsUnderWayWhenItsContextEndsIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slow{memory.New(), make(chan struct{}), make(chan struct{})}
		s := newStore(t, b, policy())
		made := create(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		claimed := later(func() (*pending.Claim[job], error) { return s.AwaitPending(ctx, box) })
		<-b.claiming
		cancel()
		calls.Pass(time.Second)
		b.finish <- struct{}{}
		if got := <-claimed; got.err != nil || got.value.ID != made.ID {
			t.Errorf("got %v, %v, want the request", got.value, got.err)
		}

		hopeless := later(func() (*pending.Claim[job], error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.AwaitPending(ctx, box)
		})
		<-b.claiming
		if got := <-hopeless; !errors.Is(got.err, context.DeadlineExceeded) || got.after != 3*time.Second {
			t.Errorf("a backend that hangs: got %v after %v, want the context's error after 3s", got.err, got.after)
		}
	})
}

// frozen is a backend whose server does not answer. Like a network client it keeps the deadlines of
// contexts, does not notice their cancellation, and has a long timeout of its own.
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

func TestWaitingKeepsItsDeadlineThoughTheServerIsFrozen(t *testing.T) {
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

func TestAnInboxWaitsForAllOfItsStores(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		one, two := policy(), policy()
		one.Name, two.Name = "one", "two"
		s1, s2 := newStore(t, b, one), newStore(t, b, two)
		in, err := pending.NewInbox(s1, s2)
		mustDo(t, err)
		waiting := later(func() (*pending.Delivery, error) { return in.Await(t.Context(), box) })
		calls.Pass(5 * time.Second)
		made := create(t, s2)
		got := <-waiting
		mustDo(t, got.err)
		if got := claimed(t, got.value, s2); ids(got) != made.ID {
			t.Errorf("got %v, want %s", ids(got), made.ID)
		}
		if len(claimed(t, got.value, s1)) != 0 || got.after != 5*time.Second {
			t.Errorf("got %v after %v", got.value, got.after)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if d, err := in.Await(ctx, box); d != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing to do: got %v, %v", d, err)
		}
	})
}

func TestWatchYieldsEachChangeAndThenTheEnd(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		made := create(t, s)
		var seen []string
		watching := later(func() (bool, error) {
			for r, err := range s.Watch(t.Context(), made.ID, pending.InMailbox(box)) {
				if err != nil {
					return false, err
				}
				seen = append(seen, fmt.Sprint(r.Status, r.Attempt, r.Payload.Output))
			}
			return true, nil
		})
		calls.Pass(5 * time.Second)
		c := pop(t, s)
		calls.Pass(5 * time.Second)
		for _, output := range []string{"a third", "half"} {
			c.Payload.Output = output
			mustDo(t, s.Progress(t.Context(), c))
			calls.Pass(time.Second)
		}
		mustDo(t, s.Release(t.Context(), c, 0))
		calls.Pass(time.Hour) // nobody claims it again
		got := <-watching
		want := "[pending0 running1 running1a third running1half pending1half timeout1half]"
		if fmt.Sprint(seen) != want || got.err != nil {
			t.Errorf("got  %v, %v\nwant %v", seen, got.err, want)
		}
	})
}

func TestWatchEndsWithItsContextItsLoopAndItsRequest(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		for _, err := range s.Watch(t.Context(), backends.NewID(box)) {
			if !errors.Is(err, pending.ErrNotFound) {
				t.Errorf("no such request: got %v, want ErrNotFound", err)
			}
		}
		made := create(t, s)
		for range s.Watch(t.Context(), made.ID) {
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var last error
		for _, err := range s.Watch(ctx, made.ID) {
			last = err
		}
		if !errors.Is(last, context.DeadlineExceeded) {
			t.Errorf("its context has ended: got %v, want the context's error", last)
		}
	})
}

package pending_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// blind hides the optional methods of a backend.
type blind struct{ backends.Backend }

// answer is the result of a waiting call, and how long the call took.
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

// awaitLater awaits the end of a request in the background.
func awaitLater(t *testing.T, s *jobStore, id string) <-chan answer[*jobRequest] {
	return later(func() (*jobRequest, error) { return s.Await(t.Context(), id) })
}

// claimLater awaits a claim in the background.
func claimLater(t *testing.T, s *jobStore) <-chan answer[*jobClaim] {
	return later(func() (*jobClaim, error) { return s.AwaitPending(t.Context(), box) })
}

func TestAwaitReturnsAtTheEnding(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		made := create(t, s)
		waiting := awaitLater(t, s, made.ID)
		calls.Pass(5 * time.Second)
		r := pop(t, s)
		r.Payload.Output = "up"
		mustDo(t, s.Complete(t.Context(), r))
		got := <-waiting
		mustDo(t, got.err)
		status, output := got.value.Status, got.value.Payload.Output
		if status != pending.StatusCompleted || output != "up" || got.after != 5*time.Second {
			t.Errorf("got %s with %q after %v, want the answer after 5s", status, output, got.after)
		}
	})
}

func TestAwaitReturnsAtTheDeadline(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		made := create(t, s)
		calls.Pass(20 * time.Second)
		got := <-awaitLater(t, s, made.ID)
		mustDo(t, got.err)
		limit := 40*time.Second + 10*time.Millisecond
		if got.value.Status != pending.StatusTimeout || got.after > limit {
			t.Errorf("got %s after %v, want timeout after 40s", got.value.Status, got.after)
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
		checkErr(t, "Await", err, context.DeadlineExceeded)
		if r == nil || r.Status != pending.StatusPending {
			t.Errorf("Await returned %v, want the pending request", r)
		}
		c, err := s.AwaitPending(ctx, box)
		checkErr(t, "AwaitPending", err, context.DeadlineExceeded)
		if c != nil || pop(t, s).ID != made.ID {
			t.Error("AwaitPending claimed a request after its context had ended")
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
			"another mailbox": {made.ID, []pending.GetOption{pending.InMailbox("other")},
				pending.ErrNotFound},
		} {
			r, err := s.Await(t.Context(), tc.id, tc.opts...)
			if r != nil || !errors.Is(err, tc.want) {
				t.Errorf("%s: got request %v and error %v, want error %v", name, r, err, tc.want)
			}
		}
		_, err := s.AwaitPending(t.Context(), "")
		checkErr(t, "AwaitPending without a mailbox", err, pending.ErrInvalid)
	})
}

func TestAwaitPendingClaimsANewRequest(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		waiting := claimLater(t, s)
		calls.Pass(5 * time.Second)
		made := create(t, s)
		got := <-waiting
		mustDo(t, got.err)
		claimed := got.value.ID == made.ID && got.value.Status == pending.StatusRunning
		if !claimed || got.after != 5*time.Second {
			t.Errorf("got %s, %s, after %v; want %s, running, after 5s",
				got.value.ID, got.value.Status, got.after, made.ID)
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

func TestAwaitPendingFindsAnExpiredLease(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		p := twice()
		s := newStore(t, b, p)
		made := create(t, s)
		pop(t, s)
		got := <-claimLater(t, s)
		mustDo(t, got.err)
		limit := p.RunningTimeout + 20*time.Second
		if got.value.ID != made.ID || got.value.Attempt != 2 || got.after > limit {
			t.Errorf("got %s at attempt %d after %v, want %s at attempt 2 within %v",
				got.value.ID, got.value.Attempt, got.after, made.ID, limit)
		}
	})
}

func TestMemorySignalsAnExpiredLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twice()
		s := newStore(t, memory.New(), p)
		create(t, s)
		first := pop(t, s)
		calls.Pass(p.RunningTimeout / 2)
		mustDo(t, s.Extend(t.Context(), first))
		got := <-claimLater(t, s)
		mustDo(t, got.err)
		if got.after > p.RunningTimeout+time.Second {
			t.Errorf("got the claim after %v, want %v", got.after, p.RunningTimeout)
		}
	})
}

func TestABackendThatCannotSignalIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, blind{memory.New()}, policy())
		claiming := claimLater(t, s)
		calls.Pass(5 * time.Second)
		made := create(t, s)
		reading := awaitLater(t, s, made.ID)
		claimed := <-claiming
		mustDo(t, claimed.err)
		mustDo(t, s.Complete(t.Context(), claimed.value))
		read := <-reading
		mustDo(t, read.err)
		if claimed.after > 6*time.Second || read.after > 2*time.Second {
			t.Errorf("claimed after %v and read after %v, want at most 6s and 2s",
				claimed.after, read.after)
		}
		if !read.value.Status.Ended() {
			t.Errorf("Await returned a request that is %s", read.value.Status)
		}
	})
}

// decorated is a decorator with the method Unwrap.
type decorated struct{ backends.Backend }

func (d decorated) Unwrap() backends.Backend { return d.Backend }

func TestSignalsPassThroughADecorator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, decorated{memory.New()}, policy())
		claiming := claimLater(t, s)
		calls.Pass(5 * time.Second)
		create(t, s)
		if got := <-claiming; got.err != nil || got.after != 5*time.Second {
			t.Errorf("got a claim after %v with error %v, want it after 5s", got.after, got.err)
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
			t.Errorf("an empty mailbox: got %v and error %v, want context.DeadlineExceeded", d, err)
		}
	})
}

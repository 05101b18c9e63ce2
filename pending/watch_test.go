package pending_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

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
		var errs []error
		for _, err := range s.Watch(t.Context(), backends.NewID(box)) {
			errs = append(errs, err)
		}
		if len(errs) != 1 || !errors.Is(errs[0], pending.ErrNotFound) {
			t.Errorf("no such request: got %v, want one ErrNotFound", errs)
		}
		made := create(t, s)
		yields := 0
		for range s.Watch(t.Context(), made.ID) {
			yields++
			break
		}
		if yields != 1 {
			t.Errorf("a loop that breaks: got %d yields, want 1", yields)
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

func TestWatchYieldsTheEndThatItsReaderCauses(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		for want, end := range map[pending.Status]func(r *jobRequest) error{
			"cancelled": func(r *jobRequest) error { return s.Cancel(t.Context(), r, "why") },
			"timeout":   func(r *jobRequest) error { return s.Timeout(t.Context(), r) },
		} {
			var seen []pending.Status
			for r, err := range s.Watch(t.Context(), create(t, s).ID) {
				mustDo(t, err)
				if seen = append(seen, r.Status); r.Status == pending.StatusPending {
					mustDo(t, end(r))
				}
			}
			if !slices.Equal(seen, []pending.Status{"pending", want}) {
				t.Errorf("got %v, want pending and %s", seen, want)
			}
		}
	})
}

// On fake time a claim, a progress and a cancel can happen in the same microsecond.
func TestWatchYieldsChangesOfTheSameMicrosecond(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		made, start := create(t, s), time.Now()
		c := pop(t, s)
		for r, err := range s.Watch(t.Context(), made.ID) {
			mustDo(t, err)
			if r.Payload.Output == "half" || r.Status.Ended() {
				break
			}
			c.Payload.Output = "half"
			mustDo(t, s.Progress(t.Context(), c))
		}
		for r, err := range s.Watch(t.Context(), made.ID) {
			mustDo(t, err)
			if r.CancelRequested || r.Status.Ended() {
				break
			}
			mustDo(t, s.Cancel(t.Context(), r, "enough"))
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the progress or the cancel was seen after %v, want at once", waited)
		}
	})
}

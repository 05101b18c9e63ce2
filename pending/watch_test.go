package pending_test

import (
	"context"
	"errors"
	"fmt"
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

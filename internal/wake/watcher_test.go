package wake_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/wake"
)

// silent is a backend that never signals. It wants to be polled at an interval.
type silent struct {
	backends.Backend
	interval time.Duration
}

func (s *silent) WatchMailbox(context.Context, string) (<-chan struct{}, func()) {
	return nil, func() {}
}

func (s *silent) WatchRequest(context.Context, string) (<-chan struct{}, func()) {
	return nil, func() {}
}

func (s *silent) PollInterval() time.Duration { return s.interval }

// A backend over HTTP is polled more often while its server cannot be watched.
func TestAWaiterFollowsThePollIntervalOfItsBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &silent{}
		w := wake.Watch(t.Context(), b, "mailbox", backends.Waker.WatchMailbox)
		defer w.Stop()
		for _, interval := range []time.Duration{2 * time.Second, 20 * time.Second} {
			b.interval = interval
			start := time.Now()
			if err := w.Wait(t.Context(), time.Minute); err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			if took < interval*3/4 || took > interval*5/4 {
				t.Errorf("interval %v: waited %v", interval, took)
			}
		}
	})
}

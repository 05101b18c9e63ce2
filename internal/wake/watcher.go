package wake

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// blindPoll is the poll interval for a backend that cannot signal.
const blindPoll = 500 * time.Millisecond

// Watcher waits for changes of a request or a mailbox of a backend.
type Watcher struct {
	Signal <-chan struct{}      // nil if the backend cannot signal
	Poll   func() time.Duration // how long to wait without a signal; nil, or it returns 0: no limit
	Stop   func()
}

// Watch starts to watch a request or a mailbox. Start is WatchRequest or WatchMailbox of Waker. The
// caller calls Stop.
func Watch(ctx context.Context, b backends.Backend, what string,
	start func(backends.Waker, context.Context, string) (<-chan struct{}, func())) Watcher {
	waker, ok := backends.As[backends.Waker](b)
	if !ok {
		return Watcher{Poll: func() time.Duration { return blindPoll }, Stop: func() {}}
	}
	signal, stop := start(waker, ctx, what)
	return Watcher{Signal: signal, Poll: waker.PollInterval, Stop: stop}
}

// Wait returns when the caller should look again: at a signal, after the poll interval plus or
// minus a quarter, or after atMost, if that is not 0. It returns ctx's error.
func (w Watcher) Wait(ctx context.Context, atMost time.Duration) error {
	var pause time.Duration
	if w.Poll != nil {
		pause = w.Poll() / 1024 * time.Duration(rand.IntN(513)+768)
	}
	if atMost > 0 && (pause <= 0 || atMost < pause) {
		pause = atMost
	}
	var timeUp <-chan time.Time
	if pause > 0 {
		timeUp = time.After(pause)
	}
	select {
	case <-w.Signal:
	case <-timeUp:
	case <-ctx.Done():
	}
	return ctx.Err()
}

package skillshttp

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// errSlow is the error of a call that took longer than its limit.
var errSlow = errors.New("it took too long")

// within calls f and returns its result, or errSlow if f takes longer than the limit. A backend may
// notice late that its context has ended, so f may still run when within returns. f continues if
// the client hangs up, so that a claim is not interrupted.
func within[R any](
	ctx context.Context, limit time.Duration, f func(context.Context) (R, error)) (R, error) {
	type result struct {
		value R
		err   error
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), limit, errSlow)
	results := make(chan result, 1)
	go func() {
		defer cancel()
		value, err := f(ctx)
		results <- result{value, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-results:
		return r.value, r.err
	case <-timer.C:
		var none R
		return none, errSlow
	}
}

// limited returns a context for the backend calls of one answer.
func (c *call) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.r.Context(), c.config.CallTime)
}

// watch wakes a waiter when something changes in the backend.
type watch struct {
	signal <-chan struct{} // nil if the backend cannot signal
	poll   time.Duration   // how long to wait without a signal; 0: for ever
	stop   func()
}

// blindPoll is the poll interval if the backend cannot signal.
const blindPoll = 500 * time.Millisecond

// watch starts a watch of a mailbox or a request. Start is the method of Waker to use.
func (h *Handler) watch(ctx context.Context, what string,
	start func(backends.Waker, context.Context, string) (<-chan struct{}, func())) watch {
	waker, ok := backends.As[backends.Waker](h.config.Stores.Backend())
	if !ok {
		return watch{poll: blindPoll, stop: func() {}}
	}
	signal, stop := start(waker, ctx, what)
	return watch{signal, waker.PollInterval(), stop}
}

// wait waits for a signal, for the poll interval, give or take a quarter, and no longer than atMost
// unless that is 0. It returns false if ctx has ended.
func (w watch) wait(ctx context.Context, atMost time.Duration) bool {
	pause := w.poll * time.Duration(rand.IntN(513)+768) / 1024
	if atMost > 0 && (pause == 0 || atMost < pause) {
		pause = atMost
	}
	var timeUp <-chan time.Time
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		timeUp = timer.C
	}
	select {
	case <-w.signal:
	case <-timeUp:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

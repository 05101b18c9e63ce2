package skillshttp

import (
	"context"
	"errors"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/wake"
)

// errSlow is the error of a call that took longer than its limit.
var errSlow = errors.New("it took too long")

// within calls f and returns its result, or errSlow if f takes longer than the limit. A backend may
// notice late that its context has ended, so f may outlive this call. A client that hangs up does
// not cancel f: a claim must not be interrupted.
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

// callContext returns a context for the backend calls of one answer.
func (c *call) callContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.r.Context(), c.config.CallTime)
}

// watch starts a watch of a mailbox or a request. Start is the method of Waker to use.
func (h *Handler) watch(ctx context.Context, what string,
	start func(backends.Waker, context.Context, string) (<-chan struct{}, func())) wake.Watcher {
	return wake.Watch(ctx, h.config.Stores.Backend(), what, start)
}

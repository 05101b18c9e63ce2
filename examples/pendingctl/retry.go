package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// troubleTime is how long the program retries while the server or the network fails. For a read it
// comes on top of the time of one attempt.
const troubleTime = 30 * time.Second

// read reads a request. The server answers once the request has ended or the wait is over. Reads
// are safe to repeat.
func (c *client) read(ctx context.Context, path string, wait time.Duration) (*record, error) {
	path += "?wait=" + wait.String()
	anyway := func(error) bool { return true }
	return c.retried(ctx, wait+attemptTime+troubleTime, anyway, func() (*record, error) {
		return c.send(ctx, http.MethodGet, path, nil, wait)
	})
}

// create makes a request. If the outcome of an attempt is unknown, it tries again only if a second
// request does no harm.
func (c *client) create(ctx context.Context, q question) (*record, error) {
	again := func(err error) bool { return q.harmless || unsent(err) }
	return c.retried(ctx, troubleTime, again, func() (*record, error) {
		return c.send(ctx, http.MethodPost, q.path, q.body, 0)
	})
}

// retried repeats an attempt after errors that may pass, within a time. Again decides about errors
// that leave the outcome unknown.
func (c *client) retried(ctx context.Context, within time.Duration, again func(error) bool,
	attempt func() (*record, error)) (*record, error) {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = 100*time.Millisecond, 3*time.Second
	var trouble error
	note := func(err error, pause time.Duration) {
		trouble = err
		c.note("%v; trying again in %v", err, pause.Round(time.Millisecond))
	}
	once := func() (*record, error) {
		r, err := attempt()
		if err == nil || mayPass(err, again) {
			return r, err
		}
		return nil, backoff.Permanent(err)
	}
	r, err := backoff.Retry(ctx, once, backoff.WithBackOff(pauses),
		backoff.WithMaxElapsedTime(within), backoff.WithNotify(note))
	if err != nil && trouble != nil && errors.Is(context.Cause(ctx), errPatience) {
		err = &troubleError{trouble}
	}
	return r, err
}

// troubleError is the error of a wait that --timeout ended while the server or the network failed.
type troubleError struct{ cause error }

func (e *troubleError) Error() string { return fmt.Sprintf("%v; %v", errPatience, e.cause) }
func (e *troubleError) Unwrap() error { return e.cause }

// mayPass reports whether a retry after an error is safe and may succeed.
func mayPass(err error, again func(error) bool) bool {
	var answered *statusError
	if errors.As(err, &answered) && answered.refused() {
		return answered.status == http.StatusTooManyRequests // the server has done nothing
	}
	return again(err)
}

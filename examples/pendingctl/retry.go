package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// troubleTime is how long the server or the network may be in trouble before it is given up.
const troubleTime = 30 * time.Second

// read reads a request, once it has ended or the wait is over. A read can always be repeated.
func (c *client) read(ctx context.Context, path string, wait time.Duration) (*record, error) {
	path += "?wait=" + wait.String()
	return c.retried(ctx, func(err error) bool { return true }, func() (*record, error) {
		return c.send(ctx, http.MethodGet, path, nil, wait)
	})
}

// create makes a request. When the outcome is unknown it is repeated only if a second request does no harm.
func (c *client) create(ctx context.Context, q question) (*record, error) {
	return c.retried(ctx, func(err error) bool { return q.harmless || unsent(err) }, func() (*record, error) {
		return c.send(ctx, http.MethodPost, q.path, q.body, 0)
	})
}

// retried repeats an attempt while there is trouble. Again decides about errors that leave the outcome unknown.
func (c *client) retried(ctx context.Context, again func(error) bool, attempt func() (*record, error)) (*record, error) {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = 100*time.Millisecond, 3*time.Second
	note := func(err error, pause time.Duration) {
		c.note("%v; trying again in %v", err, pause.Round(time.Millisecond))
	}
	return backoff.Retry(ctx, func() (*record, error) {
		r, err := attempt()
		if err == nil || mayPass(err, again) {
			return r, err
		}
		return nil, backoff.Permanent(err)
	}, backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(troubleTime), backoff.WithNotify(note))
}

// mayPass reports whether it makes sense, and is safe, to try again after an error.
func mayPass(err error, again func(error) bool) bool {
	var answered *statusError
	if errors.As(err, &answered) && answered.refused() {
		return answered.status == http.StatusTooManyRequests // which has done nothing
	}
	return again(err)
}

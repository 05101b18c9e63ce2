package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pendingq/pendingq/pending"
)

// question is a request to a runtime.
type question struct {
	label    string // for people
	path     string // below the runtime's routes
	body     []byte
	harmless bool // a second request does no harm
	long     bool // the answer may take longer than defaultTimeout
}

// endedError is the error of a request that ended but was not completed.
type endedError struct{ record *record }

func (e *endedError) Error() string {
	if e.record.Error == "" {
		return string(e.record.Status)
	}
	return fmt.Sprintf("%s: %s", e.record.Status, oneLine(e.record.Error))
}

// errPatience is the error of a wait that --timeout ended. The request itself continues.
var errPatience = errors.New("no answer in time (--timeout)")

// The first waits are short, so that people soon see that a request is running. Later waits are
// long, to spare the server.
const (
	firstWait = time.Second
	longWait  = 20 * time.Second
)

// ask asks a question and waits for its answer. It calls seen with each state of the request. It
// returns the last state also with an error.
func (c *client) ask(ctx context.Context, q question, seen func(*record)) (*record, error) {
	last, err := c.create(ctx, q)
	for wait := firstWait; err == nil; wait = min(2*wait, longWait) {
		seen(last)
		if last.Status.Ended() {
			return last, outcome(last)
		}
		var r *record
		began := time.Now()
		if r, err = c.read(ctx, q.path+"/"+last.ID, wait); err != nil {
			break
		}
		last = r
		if !r.Status.Ended() && time.Since(began) < wait/2 {
			err = pause(ctx) // a server that shuts down answers before the wait is over
		}
	}
	var trouble *troubleError
	if cause := context.Cause(ctx); cause != nil && !errors.As(err, &trouble) {
		err = cause
	}
	return last, err
}

func outcome(r *record) error {
	if r.Status != pending.StatusCompleted {
		return &endedError{r}
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(250 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

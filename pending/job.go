package pending

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// job is a claim of a Worker, and its handler.
type job[T any] struct {
	store  *PendingStore[T]
	claim  *Claim[T]
	handle func(context.Context, *Claim[T]) error
	logger *slog.Logger
	unsent backends.Extend // progress that was taken from claim.progress, and is not sent yet
}

// do runs the handler, and keeps the lease meanwhile. Then it ends or releases the request.
func (j *job[T]) do(ctx context.Context) {
	j.claim.progress = make(chan backends.Extend, 1)
	kept := *j.claim // a copy, since the handler may change the claim
	handling, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ctx = context.WithoutCancel(ctx)
	keeping, release := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { j.keep(keeping, &kept, stop) })
	err := j.call(handling)
	stopped := errors.Is(context.Cause(handling), ErrWorkerStopped)
	release()
	keeper.Wait()
	for failures := range maxFailures {
		endErr := j.conclude(ctx, err, stopped)
		if endErr != nil {
			j.logger.Warn("end the request", "error", endErr)
		}
		if endErr == nil || refused(endErr) {
			return
		}
		<-time.After(pauseAfter(failures))
	}
}

// call calls the handler. A panic becomes an error without its text.
func (j *job[T]) call(ctx context.Context) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			j.logger.Error("the handler panicked", "panic", cause, "stack", string(debug.Stack()))
			err = errors.New("the handler panicked")
		}
	}()
	return j.handle(ctx, j.claim)
}

// progressInterval is how often progress is sent at most.
const progressInterval = time.Second

// keep extends the lease and sends progress until ctx ends or the claim is lost. It cancels the
// handler's context with stop if the claim is lost or a cancel was requested.
func (j *job[T]) keep(ctx context.Context, c *Claim[T], stop context.CancelCauseFunc) {
	s := j.store
	w := watch(ctx, s.backend, backends.Waker.WatchRequest, c.ID)
	defer w.stop()
	third := s.terms.RunningTimeout / 3
	due, deadline := time.After(c.left/3), time.Now().Add(c.left) // by the clock of this node
	progress := c.progress
	var next <-chan time.Time // when the next progress may be sent
	for {
		select {
		case <-ctx.Done():
			return
		case <-next:
			progress = c.progress
			continue
		case j.unsent = <-progress:
			progress, next = nil, time.After(progressInterval)
		case <-w.signal: // perhaps a cancel
		case <-due:
		}
		start := time.Now()
		extending, cancel := context.WithDeadline(ctx, deadline.Add(claimGrace))
		err := s.extend(extending, c, j.unsent)
		cancel()
		switch {
		case err == nil:
			j.unsent = backends.Extend{}
			due, deadline = time.After(third), start.Add(c.Deadline.Sub(c.UpdatedAt))
		case refused(err) || time.Now().After(deadline):
			stop(s.failed("extend", c.ID, err))
			return
		default:
			due = time.After(min(third, max(minPause, third/10)))
		}
		if c.CancelRequested {
			stop(fmt.Errorf("%w: %s", ErrCancelRequested, c.CancelReason))
		}
	}
}

// conclude ends or releases the request as the handler's error says. Stopped says that the Worker
// has stopped the handler.
func (j *job[T]) conclude(ctx context.Context, err error, stopped bool) error {
	s, c := j.store, j.claim
	if c.Status != StatusRunning {
		return nil // the handler has ended or released it
	}
	if err == nil {
		err = s.Complete(ctx, c)
		if !errors.Is(err, errEncode) {
			return err
		} // otherwise the request fails, and the requester learns that there is no answer
	}
	select {
	case j.unsent = <-c.progress:
	default:
	}
	// The last Extend sends the last progress, and tells whether a cancel was requested.
	if err := s.extend(ctx, c, j.unsent); err != nil {
		return s.failed("extend", c.ID, err)
	}
	var retry retryError
	switch again := errors.As(err, &retry); {
	case c.CancelRequested:
		return s.Finish(ctx, c, StatusCancelled)
	case (again || stopped) && c.Attempt < s.terms.MaxAttempts:
		return s.Release(ctx, c, retry.after)
	}
	stored, heldErr := s.Held(ctx, c.ID, c.Attempt) // the handler's payload may not be storable
	if heldErr != nil {
		return heldErr
	}
	return s.Fail(ctx, stored, err.Error())
}

// refused reports whether another try is of no use.
func refused(err error) bool {
	return slices.ContainsFunc([]error{ErrNotFound, ErrEnded, ErrStaleClaim, ErrInvalid, errEncode},
		func(target error) bool { return errors.Is(err, target) })
}

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
	"github.com/pendingq/pendingq/internal/lease"
	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

// job is a claim of a Worker, and its handler.
type job[T any] struct {
	store  *PendingStore[T]
	claim  *Claim[T]
	handle func(context.Context, *Claim[T]) error
	logger *slog.Logger
}

// do runs the handler and extends the lease meanwhile. Then it ends or releases the request. If the
// handler ends its goroutine, the request is left to its lease.
func (j *job[T]) do(working context.Context) {
	j.claim.lease = lease.New()
	kept := *j.claim // the handler may change its claim
	handling, stop := context.WithCancelCause(working)
	defer stop(nil)
	ctx := context.WithoutCancel(working)
	keeping, stopKeeping := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	defer keeper.Wait()
	defer stopKeeping()
	keeper.Go(func() { j.keep(keeping, &kept, stop) })
	err := j.call(handling)
	stopped := errors.Is(context.Cause(handling), ErrWorkerStopped)
	stopKeeping()
	keeper.Wait()
	kept.Payload = j.claim.Payload // and nothing else: the handler may have replaced the claim
	j.claim = &kept
	for failures := 0; ; failures++ {
		last := working.Err() != nil
		ending, cancel := context.WithTimeout(ctx, callTimeout)
		endErr := j.conclude(ending, err, stopped)
		cancel()
		if endErr != nil {
			j.logger.Warn("end the request", "error", endErr)
		}
		if endErr == nil || refused(endErr) || unstorable(endErr) || last {
			return
		}
		_ = poll.Sleep(working, poll.Pause(failures, minPause, maxPause))
	}
}

var errPanicked = errors.New("the handler panicked")

// call calls the handler. A panic becomes an error without its text.
func (j *job[T]) call(ctx context.Context) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			j.logger.Error("the handler panicked", "panic", cause, "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	if err = j.handle(ctx, j.claim); err != nil {
		_, _ = err.Error(), errors.Is(err, errPanicked) // if the error panics, it does so here
	}
	return err
}

// keep extends the lease and sends progress until ctx ends or the claim is over. It cancels the
// handler's context with stop if the claim is lost or a cancel was requested.
func (j *job[T]) keep(ctx context.Context, c *Claim[T], stop context.CancelCauseFunc) {
	l, third := c.lease, j.store.terms.RunningTimeout/3
	deadline := time.Now().Add(c.left) // by the clock of this node
	due := time.After(min(c.left/3, firstLook))
	w := wake.Watch(ctx, j.store.backend, c.ID, backends.Waker.WatchRequest) // may take a while
	defer w.Stop()
	ready := l.Ready()
	var next <-chan time.Time // when the next progress may be sent
	for {
		if c.CancelRequested {
			stop(fmt.Errorf("%w: %s", ErrCancelRequested, c.CancelReason))
		}
		sends := false // progress
		select {
		case <-ctx.Done():
			return
		case <-next:
			ready = l.Ready()
			continue
		case <-ready:
			sends, ready, next = true, nil, time.After(progressInterval)
		case <-w.Signal: // perhaps a cancel
		case <-due:
		}
		start := time.Now()
		over, err := j.extend(ctx, c, deadline, sends)
		switch {
		case over:
			return
		case err == nil:
			due, deadline = time.After(third), start.Add(c.Deadline.Sub(c.UpdatedAt))
		case refused(err) || time.Now().After(deadline):
			stop(j.store.failed("extend", c.ID, err))
			return
		default:
			due = time.After(min(third, max(minPause, third/10)))
		}
	}
}

// extend extends the lease, and sends progress if asked to, unless the claim is over. A call gets
// half of the time until the deadline, but at least a second. The end of ctx does not interrupt it:
// the next one could overtake it. If the handler's call hangs until then, extend fails.
func (j *job[T]) extend(
	ctx context.Context, c *Claim[T], deadline time.Time, sends bool) (over bool, err error) {
	l := c.lease
	untilDeadline, stopWaiting := context.WithDeadline(ctx, deadline)
	defer stopWaiting()
	switch {
	case l.Take(untilDeadline) == nil:
		defer l.Leave()
	case ctx.Err() != nil:
		return true, nil
	default:
		return false, fmt.Errorf("%w: the handler was in a call until the lease expired",
			ErrStaleClaim)
	}
	if l.Over {
		return true, nil
	}
	limit := min(extendTimeout, max(time.Until(deadline)/2, time.Second))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	progress, x := l.Unsent(), backends.Extend{}
	if sends {
		x = *progress
	}
	err = j.store.extend(ctx, c, x)
	switch {
	case sends && (err == nil || unstorable(err)):
		l.Forget(progress)
		if err != nil {
			j.logger.Warn("drop progress", "error", err)
		}
	case sends:
		l.Remind()
	}
	l.Cancelled, l.Reason = c.CancelRequested, c.CancelReason
	return false, err
}

// conclude ends or releases the request after the handler has returned err. Stopped is true if the
// cause of the handler's context is ErrWorkerStopped.
func (j *job[T]) conclude(ctx context.Context, err error, stopped bool) error {
	s, c := j.store, j.claim
	if c.lease.Over {
		return nil
	}
	if err == nil { // if the payload cannot be stored, the request fails with that error
		if err = s.Complete(ctx, c); !unstorable(err) {
			return err
		}
	}
	// Send the last progress, and learn whether a cancel was requested.
	progress := c.lease.Unsent()
	extendErr := s.extend(ctx, c, *progress)
	if unstorable(extendErr) {
		c.lease.Forget(progress)
		extendErr = s.extend(ctx, c, backends.Extend{})
	}
	if extendErr != nil {
		return s.failed("extend", c.ID, extendErr)
	}
	retry, again := errors.AsType[retryError](err)
	if (again || stopped) && !c.CancelRequested {
		if err := s.Release(ctx, c, retry.pause); !errors.Is(err, ErrInvalid) {
			return err // ErrInvalid: the attempt is the last one, here or by the policy of a server
		}
	}
	if c.CancelRequested && !errors.Is(err, errPanicked) {
		if err := s.Finish(ctx, c, StatusCancelled); !unstorable(err) {
			return err
		}
	}
	stored, heldErr := s.Held(ctx, c.ID, c.Attempt) // since c.Payload may not be encodable
	if _, damaged := errors.AsType[*DecodeError](heldErr); damaged {
		stored = c // the claim's own payload replaces the stored one
	} else if heldErr != nil {
		return heldErr
	}
	stored.StartedAt = c.StartedAt // the id may belong to a later request by now
	if stored.CancelRequested {
		return s.Finish(ctx, stored, StatusCancelled)
	}
	return s.Fail(ctx, stored, err.Error())
}

// unstorable reports whether the store or its backend does not take the payload. A server may have
// a lower limit than Policy.MaxPayload.
func unstorable(err error) bool {
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrTooLarge)
}

// refused reports whether a retry would fail with the same error.
func refused(err error) bool {
	_, damaged := errors.AsType[*DecodeError](err)
	return damaged || slices.ContainsFunc([]error{ErrNotFound, ErrEnded, ErrStaleClaim, ErrInvalid},
		func(target error) bool { return errors.Is(err, target) })
}

package pending

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// task is a claimed request and its handler.
type task interface {
	// do runs the handler until the request has ended, been released or been lost.
	do(ctx context.Context, logger *slog.Logger)
}

// job is a task of a store.
type job[T any] struct {
	handler[T]
	claim *Claim[T]
}

func (j *job[T]) do(ctx context.Context, logger *slog.Logger) {
	k := j.claim.keeper
	logger = logger.With("store", j.store.policy.Name, "mailbox", j.claim.Mailbox,
		"request", j.claim.ID, "attempt", j.claim.Attempt)
	handling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	keeping, release := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { k.keep(keeping, cancel) })
	err := j.call(handling, logger)
	cause := context.Cause(handling)
	for failures := range maxFailures {
		endErr := j.conclude(keeping, err, cause)
		if endErr == nil {
			break
		}
		logger.Warn("end the request", "error", endErr)
		if refused(endErr) || k.isLost() {
			break
		}
		_ = sleep(keeping, pauseAfter(failures))
	}
	release()
	keeper.Wait()
}

// call calls the handler. A panic becomes an error without its text.
func (j *job[T]) call(ctx context.Context, logger *slog.Logger) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			logger.Error("the handler panicked", "panic", cause, "stack", string(debug.Stack()))
			err = errors.New("the handler panicked")
		}
	}()
	return j.handle(ctx, j.claim)
}

// conclude ends or releases the request as the handler's error says, and why its context has ended.
func (j *job[T]) conclude(ctx context.Context, err, cause error) error {
	s, c := j.store, j.claim
	if c.Status != StatusRunning {
		return nil // the handler has ended or released it
	}
	if err == nil {
		completeErr := s.Complete(ctx, c)
		var unstorable *encodeError
		if !errors.As(completeErr, &unstorable) {
			return completeErr
		}
		err = completeErr // the requester has to learn that there is no answer
	}
	var retry *retryError
	again := errors.As(err, &retry)
	stopped := errors.Is(cause, ErrWorkerStopped)
	cancelled := new(cancelError)
	switch {
	case errors.As(cause, &cancelled):
		c.CancelRequested, c.CancelReason = true, cancelled.reason
		return s.Finish(ctx, c, StatusCancelled)
	case (again || stopped) && c.Attempt < s.terms.MaxAttempts:
		if _, err := c.keeper.send(ctx, true); err != nil {
			return err
		}
		var after time.Duration
		if again {
			after = retry.after
		}
		return s.Release(ctx, c, after)
	}
	stored, heldErr := s.Held(ctx, c.ID, c.Attempt) // the handler's payload may not be storable
	if heldErr != nil {
		return heldErr
	}
	return s.Fail(ctx, stored, err.Error())
}

// refused reports whether another try is of no use.
func refused(err error) bool {
	var unstorable *encodeError
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrEnded) ||
		errors.Is(err, ErrStaleClaim) || errors.Is(err, ErrInvalid) || errors.As(err, &unstorable)
}

// cancelError is ErrCancelRequested with the reason.
type cancelError struct{ reason string }

func (e *cancelError) Error() string        { return fmt.Sprintf("%v: %s", ErrCancelRequested, e.reason) }
func (e *cancelError) Is(target error) bool { return target == ErrCancelRequested }

// keeper keeps a lease while a handler runs, and sends its progress.
type keeper struct {
	core   *core
	extend backends.Extend
	more   chan struct{} // gets a value when there is progress to send

	mu       sync.Mutex
	codec    string // of progress that was not sent yet; "" if there is none
	payload  []byte
	sent     time.Time // when progress was sent last
	deadline time.Time // when the lease expires, by the clock of this node
	lost     error     // why the claim is over
}

// progressInterval is how often progress is sent at most.
const progressInterval = time.Second

func newKeeper(c *core, id, mailbox string, attempt int) *keeper {
	return &keeper{core: c, more: make(chan struct{}, 1),
		deadline: time.Now().Add(c.terms.RunningTimeout),
		extend:   backends.Extend{Terms: c.terms, ID: id, Mailbox: mailbox, Attempt: attempt}}
}

// progress takes progress to be sent. It returns why the claim is over, if it is.
func (k *keeper) progress(codec string, payload []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.codec, k.payload = codec, payload
	select {
	case k.more <- struct{}{}:
	default:
	}
	return k.lost
}

func (k *keeper) isLost() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost != nil
}

// keep extends the lease until ctx ends or the claim is lost. It cancels the handler's context when
// it learns of a reason.
func (k *keeper) keep(ctx context.Context, cancel context.CancelCauseFunc) {
	w := watch(k.core.backend, func(waker backends.Waker) (<-chan struct{}, func()) {
		return waker.WatchRequest(ctx, k.extend.ID)
	})
	defer w.stop()
	third := k.core.terms.RunningTimeout / 3
	timer := time.NewTimer(third)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.signal: // perhaps a cancel
		case <-k.more:
			if wait := k.untilProgress(); wait > 0 {
				timer.Reset(min(wait, third))
				continue
			}
		}
		lease, err := k.send(ctx, false)
		pause := min(third, k.untilProgress())
		switch {
		case err == nil && lease.CancelledAs != "":
			cancel(&cancelError{lease.CancelReason})
		case err != nil && ctx.Err() == nil:
			if k.over(err) {
				cancel(err)
				return
			}
			pause = min(third, max(minPause, third/10))
		}
		timer.Reset(pause)
	}
}

// untilProgress returns how long progress has to wait. Without progress that is for ever.
func (k *keeper) untilProgress() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.codec == "" {
		return math.MaxInt64
	}
	return max(0, time.Until(k.sent.Add(progressInterval)))
}

// send extends the lease, with progress if there is some and its time has come, or at once.
func (k *keeper) send(ctx context.Context, atOnce bool) (backends.Lease, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	x, now := k.extend, time.Now()
	if atOnce || now.Sub(k.sent) >= progressInterval {
		x.Codec, x.Payload = k.codec, k.payload
	}
	ctx, cancel := context.WithDeadline(ctx, k.deadline.Add(claimGrace))
	defer cancel()
	lease, err := k.core.backend.Extend(ctx, x)
	if err != nil {
		return lease, k.core.failed("extend", x.ID, err)
	}
	if x.Codec != "" {
		k.codec, k.payload, k.sent = "", nil, now
	}
	k.deadline = now.Add(lease.Deadline.Sub(lease.UpdatedAt))
	return lease, nil
}

// over reports whether the claim is over after an Extend that failed: for sure, or since the lease
// must have expired.
func (k *keeper) over(err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if refused(err) || time.Now().After(k.deadline) {
		k.lost = err
	}
	return k.lost != nil
}

package pending

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/internal/lease"
	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

// Worker claims the requests of one mailbox and runs handlers for them. Make one with [NewWorker].
//
// A Worker claims a request only if its handler can start now. While a handler runs, the Worker
// extends the lease after each third of RunningTimeout. If the claim is lost, the handler's context
// ends with the cause [ErrStaleClaim], [ErrEnded] or [ErrNotFound]. If the requester cancels, the
// cause is [ErrCancelRequested], or ErrEnded in a store without CancelGrace. If the backend cannot
// be reached, the Worker retries. If the lease expires meanwhile, the cause is the backend's error.
// After Grace the Worker tries to end each request once more.
//
// The handler may end or release its request, and may then go on. Otherwise its result decides:
//
//   - nil completes the request.
//   - An error from [Retry] releases the request if attempts are left. Otherwise the request fails.
//   - Any other error, or a panic, fails the request with the payload of the last Progress. Only
//     the log has the text of a panic.
//   - After a cancel, an error ends the request as cancelled. After [ErrWorkerStopped], an error or
//     a panic releases it if attempts are left.
//
// A handler may call Progress at any rate. The Worker sends at most one progress a second, and the
// last one before it fails or releases the request.
//
// A request whose payload cannot be decoded reaches no handler. The log has its error, and its
// lease decides.
type Worker struct {
	mailbox  string
	opts     WorkerOptions
	handlers []Handler
	stores   []Source // of the handlers; the next claim begins with the first
	claimID  string   // of the next claim
	started  atomic.Bool
}

// WorkerOptions configure a Worker. The zero value has all defaults.
type WorkerOptions struct {
	Concurrency int          // how many requests are handled at a time. Default: 1
	Logger      *slog.Logger // logs backend errors and panics of handlers. Default: slog.Default()

	// Grace is how long running handlers may go on after the context of Run has ended. Then their
	// contexts are cancelled with [ErrWorkerStopped]. A request claimed meanwhile has the rest of
	// the grace. Default: 30 s. Less than 0: no grace.
	Grace time.Duration
}

// Causes with which a Worker cancels the context of a handler.
var (
	ErrCancelRequested = errors.New("the requester has cancelled the request")
	ErrWorkerStopped   = errors.New("the worker is shutting down")
)

// Handler is a store and the function that handles its requests. Make one with [Handle].
type Handler struct {
	store Source
	jobs  func(d *Delivery, logger *slog.Logger) []func(context.Context)
}

// Handle makes a Handler that calls the function handle with each claim of a store. The function
// must return when its context ends.
func Handle[T any](
	s *PendingStore[T], handle func(ctx context.Context, c *Claim[T]) error) Handler {
	return Handler{s, func(d *Delivery, logger *slog.Logger) (jobs []func(context.Context)) {
		claims, _ := Claimed(d, s) // none if the delivery is of other stores
		for _, c := range claims {
			about := logger.With("store", s.policy.Name, "mailbox", c.Mailbox,
				"request", c.ID, "attempt", c.Attempt)
			j := job[T]{store: s, claim: c, handle: handle, logger: about}
			jobs = append(jobs, j.do)
		}
		return jobs
	}}
}

// Retry wraps the error of a handler whose request may succeed later. The Worker releases the
// request. The request can be claimed again after the pause, at most ten years; less than 0 means
// at once. For a nil error Retry returns nil.
func Retry(pause time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return retryError{err, min(max(pause, 0), check.MaxDuration)}
}

type retryError struct {
	error
	pause time.Duration
}

func (e retryError) Unwrap() error { return e.error }

const (
	defaultGrace     = 30 * time.Second
	minPause         = 50 * time.Millisecond // after the first failure; doubled each time
	maxPause         = 5 * time.Second
	callTimeout      = 30 * time.Second // of a claim or an ending
	extendTimeout    = 10 * time.Second // of an Extend, at most
	firstLook        = time.Second      // when a Worker first looks for a cancel before its watch
	progressInterval = time.Second      // the shortest time between two sends of progress
)

// NewWorker makes a Worker for a mailbox. Opts may be nil. It returns [ErrInvalid] if the handlers'
// stores cannot share an [Inbox].
func NewWorker(mailbox string, opts *WorkerOptions, handlers ...Handler) (*Worker, error) {
	w := &Worker{mailbox: mailbox, handlers: handlers, claimID: rand.Text()}
	if opts != nil {
		w.opts = *opts
	}
	w.opts.Concurrency = cmp.Or(w.opts.Concurrency, 1)
	w.opts.Grace = cmp.Or(w.opts.Grace, defaultGrace)
	w.opts.Logger = cmp.Or(w.opts.Logger, slog.Default())
	for _, h := range handlers {
		w.stores = append(w.stores, h.store)
	}
	_, err := NewInbox(w.stores...)
	err = cmp.Or(err, check.Mailbox(mailbox),
		check.Range("WorkerOptions.Concurrency", w.opts.Concurrency, 1, math.MaxInt32))
	if err != nil {
		return nil, fmt.Errorf("pending: new worker: %w", err)
	}
	return w, nil
}

// Run claims requests and handles them until ctx ends. Then it claims nothing more, waits for the
// running handlers, and returns nil. It may be called once.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return fmt.Errorf("pending: run worker: %w: it has run already", ErrInvalid)
	}
	loop := poll.Loop{
		Concurrency: w.opts.Concurrency, Grace: w.opts.Grace, Cause: ErrWorkerStopped}
	return loop.Run(ctx, func(ctx context.Context, free int) (
		jobs []func(context.Context), _ error) {
		d := w.await(ctx, free)
		for _, h := range w.handlers {
			jobs = append(jobs, h.jobs(d, w.opts.Logger)...)
		}
		return jobs, nil
	})
}

// await waits until it has claimed 1 to free requests. It returns nil if ctx ends first.
func (w *Worker) await(ctx context.Context, free int) *Delivery {
	for failures := 0; ; failures++ {
		d, err := awaitClaim(ctx, w.stores[0].base().backend, w.mailbox,
			func(ctx context.Context) (*Delivery, bool, error) {
				ctx, cancel := context.WithTimeout(ctx, callTimeout)
				defer cancel()
				return w.claim(ctx, free)
			})
		if err == nil || ctx.Err() != nil {
			return d
		}
		w.opts.Logger.Warn("claim", "mailbox", w.mailbox, "error", err)
		_ = poll.Sleep(ctx, poll.Pause(failures, minPause, maxPause))
	}
}

// claim claims up to free requests. With fewer free slots than stores, each pop asks only as many
// stores as slots are free, until a pop claims a request. The next claim begins with other stores.
func (w *Worker) claim(ctx context.Context, free int) (d *Delivery, nothing bool, err error) {
	batch := min(free, len(w.stores))
	for asked := 0; asked < len(w.stores); asked += batch {
		inbox := Inbox{w.stores[:batch]}
		limit := min(check.MaxLimit, free/batch)
		d, err := inbox.pop(ctx, w.mailbox, limit, popOptions{claimID: w.claimID, hasClaimID: true})
		if d == nil && !errors.Is(err, ErrNoPending) {
			return nil, false, err // the reply may be lost: the next claim has the same id
		}
		w.claimID = rand.Text()
		w.stores = slices.Concat(w.stores[batch:], w.stores[:batch])
		if d != nil && err != nil {
			w.opts.Logger.Warn("claimed with errors", "mailbox", w.mailbox, "error", err)
		}
		if d != nil && d.requests > 0 {
			return d, false, nil
		}
	}
	return nil, true, nil
}

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
	kept := *j.claim // a copy, since the handler may change the claim
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

// extend extends the lease, and sends progress if asked to. It does nothing if the handler has
// ended or released the request. A call gets half of the time until the deadline, but at least a
// second. The end of ctx does not interrupt a call: the next one could overtake it. If an
// operation of the handler hangs until the deadline, extend returns ErrStaleClaim.
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
	if err == nil {
		// If the payload cannot be stored, the request fails with that error.
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
	if (again || stopped) && c.Attempt < s.terms.MaxAttempts && !c.CancelRequested {
		return s.Release(ctx, c, retry.pause)
	}
	if c.CancelRequested && !errors.Is(err, errPanicked) {
		if err := s.Finish(ctx, c, StatusCancelled); !unstorable(err) {
			return err
		}
	}
	stored, heldErr := s.Held(ctx, c.ID, c.Attempt) // since c.Payload may not be encodable
	if _, damaged := errors.AsType[*DecodeError](heldErr); damaged {
		stored, heldErr = c, nil // the claim's own payload replaces the stored one
	}
	switch {
	case heldErr != nil:
		return heldErr
	case stored.CancelRequested:
		return s.Finish(ctx, stored, StatusCancelled)
	}
	return s.Fail(ctx, stored, err.Error())
}

// unstorable reports whether the store or its backend does not take the payload. A server may have
// a lower limit than Policy.MaxPayload.
func unstorable(err error) bool {
	return errors.Is(err, errEncode) || errors.Is(err, ErrTooLarge)
}

// refused reports whether a retry would fail with the same error.
func refused(err error) bool {
	return slices.ContainsFunc([]error{ErrNotFound, ErrEnded, ErrStaleClaim, ErrInvalid},
		func(target error) bool { return errors.Is(err, target) })
}

package pending

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/internal/poll"
)

// Worker claims the requests of one mailbox and runs handlers for them. Make one with [NewWorker].
//
// A Worker claims a request only if its handler can start now. While a handler runs, the Worker
// extends the lease after each third of RunningTimeout. If the claim is lost, the handler's context
// ends with the cause [ErrStaleClaim], [ErrEnded], [ErrNotFound], or a [DecodeError] if the stored
// request can no longer be read. If the requester cancels, the cause is [ErrCancelRequested], or
// ErrEnded in a store without CancelGrace. If the backend cannot be reached, the Worker retries. If
// the lease expires meanwhile, the cause is the backend's error. After Grace the Worker tries to
// end each request once more.
//
// The handler may end or release its request, and may then go on. After a cancel or a shutdown its
// context has ended, so its own operations need [context.WithoutCancel]. Otherwise the handler's
// result decides, and either the Payload of its claim or that of its last Progress is stored:
//
//   - nil completes the request with the Payload. If that cannot be stored, the request fails.
//   - An error from [Retry] releases the request with the last Progress if attempts are left. So
//     does any error or panic after [ErrWorkerStopped].
//   - After a cancel, an error ends the request as cancelled with the Payload. A panic does so with
//     the last Progress.
//   - Any other error, or a panic, fails the request with the last Progress.
//
// The text of an error becomes the Error of the request, which requesters and dashboards show: keep
// secrets out of it. Only the log has the text of a panic. A handler may call Progress at any rate:
// the Worker sends at most one a second, and the last one. If a payload cannot be decoded, the
// request reaches no handler. The Worker logs the error, and leaves the request to its lease.
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
	if handle == nil {
		return Handler{store: s}
	}
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
	if slices.ContainsFunc(handlers, func(h Handler) bool { return h.jobs == nil }) {
		err = cmp.Or(err, check.Invalid("a handler has no function"))
	}
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
			func(claiming context.Context) (*Delivery, bool, error) {
				claiming, cancel := context.WithTimeout(claiming, callTimeout)
				defer cancel()
				return w.claim(claiming, ctx, free)
			})
		if err == nil || ctx.Err() != nil {
			return d
		}
		w.opts.Logger.Warn("claim", "mailbox", w.mailbox, "error", err)
		_ = poll.Sleep(ctx, poll.Pause(failures, minPause, maxPause))
	}
}

// claim claims up to free requests. With fewer free slots than stores, each pop asks only so many
// stores, until a pop claims a request or running ends. The next claim begins with other stores.
func (w *Worker) claim(ctx, running context.Context, free int) (
	d *Delivery, nothing bool, err error) {
	batch := min(free, len(w.stores))
	for asked := 0; asked < len(w.stores) && running.Err() == nil; asked += batch {
		inbox := Inbox{w.stores[0].base().backend, w.stores[:batch]}
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

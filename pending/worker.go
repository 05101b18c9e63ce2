package pending

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Worker claims the requests of one mailbox and runs handlers for them. Make one with [NewWorker].
//
// A Worker claims through one [Inbox], never more requests than it has free handlers. While a
// handler runs, the Worker extends the lease at a third of its time. If the claim is lost, or the
// requester cancels, it cancels the handler's context with a cause: [ErrStaleClaim],
// [ErrEnded] or [ErrNotFound], or [ErrCancelRequested]. While the backend is away, it keeps trying.
//
// What a handler returns decides how its request ends:
//
//   - nil completes it, with the payload as the handler has left it. Nothing happens if the handler
//     has ended the request by itself.
//   - An error from [Retry] releases it for its next attempt. On the last attempt it fails.
//   - Any other error fails it. After a cancel, it ends the request as cancelled instead. After a
//     shutdown, it releases the request if attempts are left.
//   - A panic fails it. The log has its text, the request has not.
//
// A handler may call Progress on its claim as often as it likes. The Worker sends at most one
// progress a second, and always the last.
type Worker struct {
	mailbox  string
	handlers []Handler
	inbox    *Inbox
	opts     WorkerOptions
	slots    chan struct{} // one for each request that is worked on
	turn     int           // the store that the next claim begins with
	started  atomic.Bool
}

// WorkerOptions change how a Worker works. The zero value is right for many.
type WorkerOptions struct {
	// Concurrency is how many handlers run at a time. Default: 1.
	Concurrency int

	// Grace is how long running handlers may go on after the context of Run has ended. Then their
	// contexts are cancelled, with [ErrWorkerStopped] as the cause. Default: 30 s. Less than 0: no
	// grace.
	Grace time.Duration

	// Logger gets warnings about a backend that fails and about panics. Default: slog.Default().
	Logger *slog.Logger
}

// Causes of the end of a handler's context.
var (
	ErrCancelRequested = errors.New("the requester has cancelled the request")
	ErrWorkerStopped   = errors.New("the worker is shutting down")
)

// Handler is a store and what to do with its requests. Make one with [Handle].
type Handler interface {
	source() Source
	tasks(d *Delivery) []task
}

// Handle makes a Handler that calls handle with each claim of a store. Handle must return when its
// context ends.
func Handle[T any](s *PendingStore[T], handle func(ctx context.Context, c *Claim[T]) error) Handler {
	return handler[T]{s, handle}
}

type handler[T any] struct {
	store  *PendingStore[T]
	handle func(context.Context, *Claim[T]) error
}

func (h handler[T]) source() Source { return h.store }

func (h handler[T]) tasks(d *Delivery) (tasks []task) {
	claims, _ := Claimed(d, h.store) // the store is in the inbox, or has not been claimed from
	for _, c := range claims {
		c.keeper = newKeeper(&h.store.core, c.ID, c.Mailbox, c.Attempt)
		tasks = append(tasks, &job[T]{handler: h, claim: c})
	}
	return tasks
}

type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// Retry wraps the error of a handler whose request may succeed later: the Worker releases the
// request, and it can be claimed again after that time.
func Retry(after time.Duration, err error) error { return &retryError{after, err} }

const (
	defaultGrace = 30 * time.Second
	minPause     = 50 * time.Millisecond // after the first failure; doubled each time
	maxPause     = 5 * time.Second
	maxFailures  = 20 // to end a request
)

// pauseAfter is the pause before another try, after so many others that failed.
func pauseAfter(failures int) time.Duration { return min(maxPause, minPause<<min(failures, 10)) }

// NewWorker makes a Worker for a mailbox. Opts may be nil. It returns [ErrInvalid] if the handlers'
// stores cannot share an [Inbox].
func NewWorker(mailbox string, opts *WorkerOptions, handlers ...Handler) (*Worker, error) {
	w := &Worker{mailbox: mailbox, handlers: handlers}
	if opts != nil {
		w.opts = *opts
	}
	w.opts.Concurrency = cmp.Or(w.opts.Concurrency, 1)
	w.opts.Grace = cmp.Or(w.opts.Grace, defaultGrace)
	w.opts.Logger = cmp.Or(w.opts.Logger, slog.Default())
	var sources []Source
	for _, h := range handlers {
		sources = append(sources, h.source())
	}
	err := checkMailbox(mailbox)
	if err == nil && w.opts.Concurrency < 0 {
		err = fmt.Errorf("%w: WorkerOptions.Concurrency is %d", ErrInvalid, w.opts.Concurrency)
	}
	if err == nil {
		w.inbox, err = NewInbox(sources...)
	}
	if err != nil {
		return nil, fmt.Errorf("pending: new worker: %w", err)
	}
	w.slots = make(chan struct{}, w.opts.Concurrency)
	return w, nil
}

// Run claims requests and handles them until ctx ends. Then it claims nothing more, waits for the
// running handlers, and returns nil. It may be called once.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return fmt.Errorf("pending: run worker: %w: it has run already", ErrInvalid)
	}
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var work sync.WaitGroup
	for free := w.reserve(ctx); free > 0; free = w.reserve(ctx) {
		tasks := w.await(ctx, free)
		for range free - len(tasks) {
			<-w.slots
		}
		for _, t := range tasks {
			work.Go(func() {
				defer func() { <-w.slots }()
				t.do(working, w.opts.Logger)
			})
		}
	}
	timer := time.AfterFunc(max(0, w.opts.Grace), func() { stop(ErrWorkerStopped) })
	defer timer.Stop()
	work.Wait()
	return nil
}

// reserve waits for a free slot and takes all that are free. It returns 0 if ctx has ended.
func (w *Worker) reserve(ctx context.Context) (n int) {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n = 1; ; n++ {
		select {
		case w.slots <- struct{}{}:
		default:
			return n
		}
	}
}

// await waits until it has claimed up to free requests, or ctx has ended.
func (w *Worker) await(ctx context.Context, free int) (tasks []task) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := awaitClaim(ctx, w.inbox.cores[0].backend, w.mailbox,
			func(ctx context.Context) (bool, error) {
				d, err := w.claim(ctx, free)
				for _, h := range w.handlers {
					tasks = append(tasks, h.tasks(d)...)
				}
				return len(tasks) > 0, err
			})
		if err == nil || ctx.Err() != nil {
			break
		}
		w.opts.Logger.Warn("claim", "mailbox", w.mailbox, "error", err)
		_ = sleep(ctx, pauseAfter(failures))
	}
	return tasks
}

// claim claims up to free requests. With fewer free slots than stores it asks some stores at a time,
// each in turn.
func (w *Worker) claim(ctx context.Context, free int) (*Delivery, error) {
	stores := len(w.inbox.cores)
	some := min(free, stores)
	for range (stores + some - 1) / some {
		part := &Inbox{}
		for i := range some {
			at := (w.turn + i) % stores
			part.sources = append(part.sources, w.inbox.sources[at])
			part.cores = append(part.cores, w.inbox.cores[at])
		}
		d, problems, err := w.popSurely(ctx, part, min(maxLimit, free/some))
		if problems != nil {
			w.opts.Logger.Warn("claim, in part", "mailbox", w.mailbox, "error", problems)
		}
		if d != nil || err != nil {
			return d, err
		}
		w.turn = (w.turn + some) % stores
	}
	return nil, nil
}

// popSurely pops, and once more with the same claim id if the reply may have been lost.
func (w *Worker) popSurely(ctx context.Context, in *Inbox, limit int) (
	d *Delivery, problems, err error) {
	opts := []PopOption{WithClaimID(rand.Text()), func(o *popOptions) {
		o.limits = map[string]int{}
		for _, c := range in.cores {
			o.limits[c.policy.Name] = limit
		}
	}}
	d, problems, err = in.pop(ctx, w.mailbox, opts)
	if err != nil && ctx.Err() == nil {
		d, problems, err = in.pop(ctx, w.mailbox, opts)
	}
	return d, problems, err
}

// sleep waits for some time, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package pending

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

const (
	claimPollInterval = time.Second      // for Watch: over Redis a claim sends no signal
	deadlineSlack     = time.Millisecond // the backend's clock may lag behind this one
	claimGrace        = 2 * time.Second  // for a call in flight when ctx or the lease ends
)

// Await waits until a request has ended, and returns it with its payload, or an error of Get.
// It reads the request after a signal from the backend, at the request's deadline, and at the
// backend's poll interval, because a signal may be lost. If ctx ends first, Await returns ctx's
// error and the request as last read, or nil if it was never read.
func (s *PendingStore[T]) Await(
	ctx context.Context, id string, opts ...GetOption) (last *Request[T], err error) {
	for r, err := range s.follow(ctx, "await", id, opts, 0) {
		if err == nil {
			last = r
		} else if poll.Ended(ctx) == nil {
			return nil, err
		} else {
			return last, err
		}
	}
	return last, nil
}

// Watch yields a request now and after each change of its status, attempt, progress or
// CancelRequested, until it has ended. It may yield after an Extend, too. Changes in quick
// succession may appear as one. If the request cannot be read, or ctx ends, Watch yields nil and an
// error. Signals of progress, cancels and endings wake it. It polls for a claim once a second.
func (s *PendingStore[T]) Watch(
	ctx context.Context, id string, opts ...GetOption) iter.Seq2[*Request[T], error] {
	return s.follow(ctx, "watch", id, opts, claimPollInterval)
}

// follow implements Watch and Await. It polls for a claim every pollClaim, or never if that is 0.
func (s *PendingStore[T]) follow(ctx context.Context, operation, id string, opts []GetOption,
	pollClaim time.Duration) iter.Seq2[*Request[T], error] {
	return func(yield func(*Request[T], error) bool) {
		if err := check.ID(id); err != nil {
			yield(nil, s.failed(operation, id, err))
			return
		}
		w := wake.Watch(ctx, s.backend, id, backends.Waker.WatchRequest)
		defer w.Stop()
		var last backends.Record // not the yielded request: its reader may change that
		for {
			rec, err := s.get(ctx, id, opts)
			r, err := s.request(rec, err)
			if err == nil {
				if changed(last, rec) && !yield(r, nil) || rec.Ended() {
					return
				}
				last = rec
				pause := rec.Deadline.Sub(rec.ReadAt) + deadlineSlack
				if rec.Status == backends.StatusPending && pollClaim > 0 && w.Poll() > 0 {
					pause = min(pause, pollClaim)
				}
				err = w.Wait(ctx, pause)
			}
			if err != nil {
				yield(nil, s.failed(operation, id, cmp.Or(poll.Ended(ctx), err)))
				return
			}
		}
	}
}

// changed reports whether two reads of a request differ for Watch.
func changed(a, b backends.Record) bool {
	return a.Status != b.Status || a.Attempt != b.Attempt || !a.UpdatedAt.Equal(b.UpdatedAt) ||
		a.CancelledAs != b.CancelledAs || a.Codec != b.Codec || !bytes.Equal(a.Payload, b.Payload)
}

// AwaitPending waits until it has claimed a request, as PopPending does. It tries after a signal
// from the backend and at the backend's poll interval. If ctx ends first, AwaitPending returns
// ctx's error. A claim in flight then has two more seconds, so that its request is not lost. An
// unreadable request that is skipped does not end the wait: the error of AwaitPending names it.
// Give ctx a deadline. If the server does not answer, a backend may notice that ctx was cancelled
// only after timeouts of its own.
func (s *PendingStore[T]) AwaitPending(
	ctx context.Context, mailbox string, opts ...PopOption) (*Claim[T], error) {
	return awaitClaim(ctx, s.backend, mailbox, func(ctx context.Context) (*Claim[T], bool, error) {
		claims, nothing, err := s.pop(ctx, mailbox, 1, opts)
		return append(claims, nil)[0], nothing, err
	})
}

// Await waits until Pop claims a request, as [PendingStore.AwaitPending] does. If a store fails and
// the other stores are empty, Await goes on. It returns the error of the last pop together with the
// delivery, or with ctx's error if there is no delivery.
func (in *Inbox) Await(ctx context.Context, mailbox string, opts ...PopOption) (*Delivery, error) {
	return awaitClaim(ctx, in.backend, mailbox, func(ctx context.Context) (*Delivery, bool, error) {
		d, err := in.Pop(ctx, mailbox, opts...)
		return d, errors.Is(err, ErrNoPending) || d != nil && d.requests == 0, err
	})
}

// awaitClaim calls pop until pop claims a request, pop fails or ctx ends. If nothing was claimed,
// the error of pop may be about requests that pop skipped.
func awaitClaim[C any](ctx context.Context, b backends.Backend, mailbox string,
	pop func(context.Context) (claimed *C, nothing bool, err error)) (*C, error) {
	const failed = "pending: await a claim for %.80q: %w"
	if err := cmp.Or(ctx.Err(), check.Mailbox(mailbox)); err != nil {
		return nil, fmt.Errorf(failed, mailbox, err)
	}
	w := wake.Watch(ctx, b, mailbox, backends.Waker.WatchMailbox)
	defer w.Stop()
	claiming, cancel := poll.Outliving(ctx, claimGrace)
	defer cancel()
	for {
		claimed, nothing, err := pop(claiming)
		if nothing && w.Wait(ctx, 0) == nil {
			continue
		}
		if !nothing && (claimed != nil || poll.Ended(ctx) == nil) {
			return claimed, err
		}
		if errors.Is(err, ErrNoPending) {
			err = nil
		}
		return nil, fmt.Errorf(failed, mailbox, errors.Join(poll.Ended(ctx), err))
	}
}

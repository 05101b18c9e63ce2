package backendtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// raceCases are about operations at the time of a deadline.
var raceCases = []testCase{
	{"no end follows a timeout that was read",
		"A backend must read clock and record at one instant, and decide under the same lock.",
		func(w *world) {
			w.raceDeadline(contest{func(t backends.Terms, rec backends.Record) (bool, error) {
				_, err := w.b.End(w.Context(), completion(t, rec))
				return err == nil, err
			}, true})
		}},

	{"no cancel follows a timeout that was read",
		"A requester that has read the timeout must not read another ending later.",
		func(w *world) {
			w.raceDeadline(contest{func(t backends.Terms, rec backends.Record) (bool, error) {
				_, err := w.b.Cancel(w.Context(), cancelled(t, rec, 0))
				return err == nil, err
			}, true})
		}},

	{"no extension follows a timeout that was read",
		"A worker must not continue a request after its requester has read a timeout.",
		func(w *world) {
			w.raceDeadline(contest{func(t backends.Terms, rec backends.Record) (bool, error) {
				x := backends.Extend{Terms: t, ID: rec.ID, Attempt: rec.Attempt}
				_, err := w.b.Extend(w.Context(), x)
				return err == nil, err
			}, true})
		}},

	{"no claim follows a timeout that was read",
		"A worker must not start a request after its requester has read a timeout.",
		func(w *world) {
			w.raceDeadline(contest{func(t backends.Terms, rec backends.Record) (bool, error) {
				got, err := w.b.Claim(w.Context(), poll(rec.Mailbox, t))
				return err == nil && len(got[0].Records) == 1, err
			}, false})
		}},
}

// contest is an operation that succeeds on a live request and fails after its timeout.
type contest struct {
	act     func(backends.Terms, backends.Record) (won bool, err error)
	claimed bool // the request must be claimed before the operation
}

// raceDeadline runs many races at the same time. Each race sends the operation so that it arrives
// just before a deadline, while readers wait for the timeout. After each round a race adjusts the
// time at which it sends the operation.
func (w *world) raceDeadline(c contest) {
	const rounds = 12
	races := make([]race, 16)
	for i := range races {
		races[i] = race{contest: c, mailbox: fmt.Sprint("runtime-", i),
			lead: 500*time.Microsecond + time.Duration(i)*70*time.Microsecond}
	}
	for range rounds {
		w.together(len(races), func(i int) { races[i].run(w) })
		if w.Failed() {
			return
		}
	}
}

// race makes one request after the other, in a mailbox of its own.
type race struct {
	contest
	mailbox string

	// lead is how long before the deadline the race sends the operation. TooShort is the last lead
	// with which the operation lost, and enough the last lead with which it won.
	lead, tooShort, enough time.Duration
}

// run races the operation against the deadline of a new request.
func (r *race) run(w *world) {
	t := terms("s")
	t.RunningTimeout = w.short + 2*r.lead
	if !r.claimed {
		t.PendingTimeout = t.RunningTimeout
	}
	rec, err := w.b.Create(w.Context(), request(t, r.mailbox))
	if err == nil && r.claimed {
		rec, err = w.claimOf(t, r.mailbox)
	}
	if err != nil {
		w.Error(err)
		return
	}
	send := time.Now().Add(rec.Deadline.Sub(rec.ReadAt) - r.lead)
	calls.Pass(time.Until(send) - 200*time.Microsecond)
	var readers sync.WaitGroup
	var timedOut atomic.Bool
	for range 2 {
		readers.Go(func() {
			if w.readsTimeout(rec) {
				timedOut.Store(true)
			}
		})
	}
	calls.Pass(time.Until(send))
	won, err := r.act(t, rec)
	w.allow(err, backends.ErrEnded)
	readers.Wait()
	if won && timedOut.Load() {
		w.Errorf("the operation succeeded after a reader saw a timeout at %v", rec.Deadline)
	}
	r.learn(won)
}

// learn chooses the next lead: between tooShort and enough.
func (r *race) learn(won bool) {
	if won {
		r.enough = r.lead
	} else {
		r.tooShort = r.lead
	}
	if r.enough == 0 {
		r.lead *= 4
		return
	}
	r.lead = (r.tooShort + r.enough) / 2
}

// claimOf claims the only request of a mailbox.
func (w *world) claimOf(t backends.Terms, mailbox string) (backends.Record, error) {
	got, err := w.b.Claim(w.Context(), poll(mailbox, t))
	switch {
	case err != nil:
		return backends.Record{}, err
	case len(got[0].Records) != 1:
		return backends.Record{}, errors.New("a claim got nothing, want one request")
	}
	return got[0].Records[0], nil
}

// readsTimeout reads a record until it changes. It reports whether the change was a timeout at the
// record's deadline. It reads with growing pauses, so a record that never changes takes few reads.
func (w *world) readsTimeout(rec backends.Record) bool {
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	for pause := 50 * time.Microsecond; ; pause += pause / 50 {
		got, err := w.b.Get(ctx, "s", rec.ID)
		switch {
		case err != nil:
			w.Errorf("Get: %v", err)
			return false
		case got.Ended():
			return got.Status == backends.StatusTimeout && got.UpdatedAt.Equal(rec.Deadline)
		case !got.UpdatedAt.Equal(rec.UpdatedAt):
			return false
		}
		calls.Pass(pause)
	}
}

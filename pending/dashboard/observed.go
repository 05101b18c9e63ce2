package dashboard

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
)

// Observed is a backend that counts this node's operations. Make one with [Observe].
type Observed struct {
	backends.Backend
	mu     sync.Mutex
	start  time.Time
	stores map[string]*[window]second
}

// window is how many seconds the figures cover.
const window = 60

// second counts the operations of one second. Slot i of took counts operations of 2^(i-1) to 2^i
// microseconds.
type second struct {
	at                             int64 // the number of the second
	created, claimed, ended, fails int
	took                           [32]int
}

// Figures are the counts of this node's operations on a store in the last minute.
type Figures struct {
	Created, Claimed, Ended int
	Errors                  int           // operations with an error of the storage engine
	P50, P99                time.Duration // of operations, rounded up to 2^n µs; 0: no operations
}

// Observe returns a backend that passes operations to b and counts them. Each store takes a fixed
// amount of memory. Make the stores of this node and the dashboard over this backend. The optional
// interfaces of b still work. HasPending, List and signals are not counted.
func Observe(b backends.Backend) *Observed {
	return &Observed{Backend: b, start: time.Now(), stores: map[string]*[window]second{}}
}

// Unwrap returns the backend below.
func (o *Observed) Unwrap() backends.Backend { return o.Backend }

// Figures returns the counts of a store.
func (o *Observed) Figures(store string) (f Figures) {
	o.mu.Lock()
	defer o.mu.Unlock()
	seconds, now := o.stores[store], o.now()
	if seconds == nil {
		return f
	}
	var took [32]int
	all := 0
	for _, s := range seconds {
		if s.at <= now-window {
			continue
		}
		f.Created, f.Claimed, f.Ended = f.Created+s.created, f.Claimed+s.claimed, f.Ended+s.ended
		f.Errors += s.fails
		for i, n := range s.took {
			took[i] += n
			all += n
		}
	}
	f.P50, f.P99 = quantile(took, (all+1)/2), quantile(took, (all*99+99)/100)
	return f
}

// quantile returns the duration of the n-th fastest operation, rounded up.
func quantile(took [32]int, n int) time.Duration {
	for i, count := range took {
		if n -= count; count > 0 && n <= 0 {
			return time.Microsecond << i
		}
	}
	return 0
}

// now is the number of the current second, from 1 on.
func (o *Observed) now() int64 { return int64(time.Since(o.start)/time.Second) + 1 }

// note counts an operation on a store. If it succeeded, note calls count to add its effect.
func (o *Observed) note(store string, start time.Time, err error, count func(*second)) {
	took := time.Since(start)
	o.mu.Lock()
	defer o.mu.Unlock()
	seconds := o.stores[store]
	if seconds == nil {
		if len(o.stores) >= maxStores {
			return
		}
		seconds = new([window]second)
		o.stores[store] = seconds
	}
	now := o.now()
	s := &seconds[now%window]
	if s.at != now {
		*s = second{at: now}
	}
	s.took[min(bits.Len64(uint64(took.Microseconds())), len(s.took)-1)]++
	if failure(err) {
		s.fails++
	}
	if err == nil && count != nil {
		count(s)
	}
}

// failure reports whether an error is a failure of the storage engine, and not a refusal, a mistake
// of the caller or the caller's cancel.
func failure(err error) bool {
	for _, refusal := range []error{nil, backends.ErrNotFound, backends.ErrEnded,
		backends.ErrStaleClaim, backends.ErrBusy, backends.ErrFull, check.ErrInvalid,
		context.Canceled} {
		if errors.Is(err, refusal) {
			return false
		}
	}
	return true
}

// Create implements [backends.Backend].
func (o *Observed) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	start := time.Now()
	rec, err := o.Backend.Create(ctx, c)
	o.note(c.Store, start, err, func(s *second) {
		if rec.CreatedAt.Equal(rec.ReadAt) { // otherwise it is a repeat
			s.created++
		}
	})
	return rec, err
}

// Get implements [backends.Backend].
func (o *Observed) Get(ctx context.Context, store, id string) (backends.Record, error) {
	start := time.Now()
	rec, err := o.Backend.Get(ctx, store, id)
	o.note(store, start, err, nil)
	return rec, err
}

// Claim implements [backends.Backend].
func (o *Observed) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	start := time.Now()
	claimed, err := o.Backend.Claim(ctx, c)
	o.noteClaim(c, start, backends.ClaimResult{Claimed: claimed, Err: err})
	return claimed, err
}

// ClaimMany implements [backends.ManyClaimer]. If b does not, it makes one claim after the other.
func (o *Observed) ClaimMany(
	ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	start := time.Now()
	results := backends.ClaimMany(ctx, o.Backend, claims)
	for i, c := range claims {
		o.noteClaim(c, start, results[i])
	}
	return results
}

// noteClaim counts a claim once for each of its stores.
func (o *Observed) noteClaim(c backends.Claim, start time.Time, result backends.ClaimResult) {
	for i, from := range c.From {
		o.note(from.Store, start, result.Err, func(s *second) {
			for _, rec := range result.Claimed[i].Records {
				if rec.StartedAt.Equal(rec.ReadAt) { // otherwise it is a repeat
					s.claimed++
				}
			}
		})
	}
}

// Extend implements [backends.Backend].
func (o *Observed) Extend(ctx context.Context, e backends.Extend) (backends.Lease, error) {
	start := time.Now()
	lease, err := o.Backend.Extend(ctx, e)
	o.note(e.Store, start, err, nil)
	return lease, err
}

// Cancel implements [backends.Backend].
func (o *Observed) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	start := time.Now()
	rec, err := o.Backend.Cancel(ctx, c)
	o.note(c.Store, start, err, func(s *second) {
		if rec.Ended() {
			s.ended++
		}
	})
	return rec, err
}

// End implements [backends.Backend].
func (o *Observed) End(ctx context.Context, e backends.End) (backends.Record, error) {
	start := time.Now()
	rec, err := o.Backend.End(ctx, e)
	o.note(e.Store, start, err, func(s *second) { s.ended++ })
	return rec, err
}

package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/effort"
)

// rightBackends have to pass every case.
var rightBackends = map[string]func() backends.Backend{
	"memory":             func() backends.Backend { return oneByOne{memory.New()} },
	"a decorated memory": func() backends.Backend { return decorator{oneByOne{memory.New()}} },
	"the sketch":         func() backends.Backend { return oneByOne{newSketch("")} },
	"a slow memory": func() backends.Backend {
		return oneByOne{slow{memory.New(), 200 * time.Millisecond, 200 * time.Millisecond}}
	},
	"a memory that is slow before each operation": func() backends.Backend {
		return oneByOne{slow{memory.New(), 400 * time.Millisecond, 0}}
	},
	"a memory that is slow after each operation": func() backends.Backend {
		return oneByOne{slow{memory.New(), 0, 400 * time.Millisecond}}
	},
}

func TestRightBackendsPass(t *testing.T) {
	for name, open := range rightBackends {
		t.Run(name, func(t *testing.T) {
			for _, c := range effort.Plain(effort.Third(allCases()), allCases()) {
				t.Run(c.name, func(t *testing.T) {
					got := record(t, c, open)
					for _, report := range got.reports {
						t.Error(report)
					}
					if got.skipped {
						t.Error("the case was skipped")
					}
				})
			}
		})
	}
}

// decorator hides the optional interfaces of its Backend, except through Unwrap.
type decorator struct{ backends.Backend }

func (d decorator) Unwrap() backends.Backend { return d.Backend }

// oneByOne is a ManyClaimer that makes the claims one after the other.
type oneByOne struct{ backends.Backend }

func (o oneByOne) Unwrap() backends.Backend { return o.Backend }

func (o oneByOne) ClaimMany(
	ctx context.Context, claims []backends.Claim,
) []backends.ClaimResult {
	results := make([]backends.ClaimResult, len(claims))
	for i, c := range claims {
		results[i].Claimed, results[i].Err = o.Claim(ctx, c)
	}
	return results
}

// slow is a Backend that waits before and after each operation.
type slow struct {
	backends.Backend
	before, after time.Duration
}

func (s slow) Unwrap() backends.Backend { return s.Backend }

// wait waits before an operation. The caller calls after when the operation is done.
func (s slow) wait() (after func()) {
	calls.Pass(s.before)
	return func() { calls.Pass(s.after) }
}

func (s slow) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	defer s.wait()()
	return s.Backend.Create(ctx, c)
}

func (s slow) Get(ctx context.Context, store, id string) (backends.Record, error) {
	defer s.wait()()
	return s.Backend.Get(ctx, store, id)
}

func (s slow) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	defer s.wait()()
	return s.Backend.HasPending(ctx, store, mailbox)
}

func (s slow) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	defer s.wait()()
	return s.Backend.Claim(ctx, c)
}

func (s slow) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	defer s.wait()()
	return s.Backend.Extend(ctx, x)
}

func (s slow) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	defer s.wait()()
	return s.Backend.Cancel(ctx, c)
}

func (s slow) End(ctx context.Context, e backends.End) (backends.Record, error) {
	defer s.wait()()
	return s.Backend.End(ctx, e)
}

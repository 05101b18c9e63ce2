package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

func TestTheOverviewShowsTheFiguresOfThisNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observed := dashboard.Observe(memory.New())
		w := newWorld(t, observed, nil)
		for range 3 {
			w.create(box)
		}
		w.must(w.jobs.Complete(t.Context(), w.pop(box)))
		w.shows(w.get("/"), `data-label="Created">3<`, `data-label="Claimed">1<`,
			`data-label="Ended">1<`, `data-label="Errors">0<`)
		<-time.After(59 * time.Second)
		if got := observed.Figures("jobs").Created; got != 3 {
			t.Errorf("the figures show %d created in the last minute, want 3", got)
		}
		<-time.After(2 * time.Second)
		if diff := cmp.Diff(observed.Figures("jobs"), dashboard.Figures{}); diff != "" {
			t.Errorf("a minute later: got - want +\n%s", diff)
		}
	})
}

// slowly is a backend whose Get takes this long and then fails.
type slowly struct {
	*memory.Backend
	took *time.Duration
}

func (b slowly) Get(context.Context, string, string) (backends.Record, error) {
	calls.Pass(*b.took)
	return backends.Record{}, errors.New("the engine is away")
}

func TestFiguresHaveLatenciesAndFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		b := dashboard.Observe(slowly{memory.New(), &took})
		for i := range 100 {
			took = time.Millisecond
			if i >= 98 {
				took = 100 * time.Millisecond
			}
			_, _ = b.Get(t.Context(), "jobs", backends.NewID(box))
		}
		want := dashboard.Figures{Errors: 100, P50: 1024 * time.Microsecond,
			P99: 131072 * time.Microsecond}
		if diff := cmp.Diff(b.Figures("jobs"), want); diff != "" {
			t.Errorf("got - want +\n%s", diff)
		}
	})
}

// invalid is a backend whose Get finds a mistake of the caller.
type invalid struct{ *memory.Backend }

func (invalid) Get(context.Context, string, string) (backends.Record, error) {
	return backends.Record{}, fmt.Errorf("get: %w", pending.ErrInvalid)
}

func TestAMistakeOfTheCallerIsNoFailure(t *testing.T) {
	b := dashboard.Observe(invalid{memory.New()})
	if _, err := b.Get(t.Context(), "jobs", "?"); err == nil || b.Figures("jobs").Errors != 0 {
		t.Errorf("error %v, figures %+v, want an error that is not counted", err, b.Figures("jobs"))
	}
}

// many is a backend that makes many claims in one round trip.
type many struct{ *memory.Backend }

func (b many) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	return backends.ClaimMany(ctx, b.Backend, claims)
}

func TestFiguresCountClaimsOfManyMailboxes(t *testing.T) {
	b := dashboard.Observe(many{memory.New()})
	w := newWorld(t, b, nil)
	w.create("a")
	w.create("b")
	inbox, err := pending.NewInbox(w.jobs)
	w.must(err)
	for range 2 {
		_, err = inbox.PopMany(t.Context(), []string{"a", "b"}, pending.WithClaimID("once"))
		w.must(err)
	}
	if got := b.Figures("jobs").Claimed; got != 2 {
		t.Errorf("the figures show %d claimed, want 2: a repeat counts nothing", got)
	}
}

package pending_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// report handles the report of a worker as an API node does.
func report(t *testing.T, s *jobStore, id string, attempt int, output string) error {
	t.Helper()
	c, err := s.Held(t.Context(), id, attempt)
	if err != nil {
		return err
	}
	c.Payload.Output = output
	return s.Complete(t.Context(), c)
}

func TestALateWorkerCannotEndTheClaimOfAnother(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		inProcess, byReport := create(t, s), create(t, s)
		_, _ = pop(t, s), pop(t, s)
		late := held(t, s, inProcess.ID, 1)
		calls.Pass(2*time.Minute + time.Second)
		_, _ = pop(t, s), pop(t, s)

		late.Payload.Output = "late"
		checkErr(t, "Complete, late", s.Complete(t.Context(), late), pending.ErrStaleClaim)
		err := report(t, s, byReport.ID, 1, "late")
		checkErr(t, "a late report", err, pending.ErrStaleClaim)
		for _, id := range []string{inProcess.ID, byReport.ID} {
			mustDo(t, report(t, s, id, 2, "in time"))
			got := get(t, s, id)
			if got.Payload.Output != "in time" || got.Attempt != 2 {
				t.Errorf("got %q at attempt %d, want the answer of attempt 2",
					got.Payload.Output, got.Attempt)
			}
		}
	})
}

// The first worker was silent until Retention had passed. It has the id and the attempt of the
// second worker.
func TestALateWorkerCannotChangeALaterRequestOfItsKey(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s, key := newStore(t, b, twice()), pending.WithIdempotencyKey("k")
		first := create(t, s, key)
		late := pop(t, s)
		calls.Pass(2*time.Minute + time.Minute + 3*time.Minute + time.Second)
		if again := create(t, s, key); again.ID != first.ID {
			t.Fatalf("the key gave %s, then %s", first.ID, again.ID)
		}
		current := pop(t, s)

		ctx := t.Context()
		checkErr(t, "Extend, late", s.Extend(ctx, late), pending.ErrStaleClaim)
		checkErr(t, "Progress, late", s.Progress(ctx, late), pending.ErrStaleClaim)
		checkErr(t, "Release, late", s.Release(ctx, late, 0), pending.ErrStaleClaim)
		checkErr(t, "Fail, late", s.Fail(ctx, late, "late"), pending.ErrStaleClaim)
		checkErr(t, "Complete, late", s.Complete(ctx, late), pending.ErrStaleClaim)

		current.Payload.Output = "up"
		mustDo(t, s.Complete(ctx, current))
		mustDo(t, s.Complete(ctx, current))
		late.Payload = current.Payload
		checkErr(t, "Complete with the same answer", s.Complete(ctx, late), pending.ErrEnded)
		mustDo(t, s.Complete(ctx, held(t, s, first.ID, 1)))
	})
}

func TestAReportMayBeRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		made := create(t, s)
		pop(t, s)
		mustDo(t, report(t, s, made.ID, 1, "up"))
		mustDo(t, report(t, s, made.ID, 1, "up"))
		checkErr(t, "another answer", report(t, s, made.ID, 1, "down"), pending.ErrEnded)
		if c := held(t, s, made.ID, 1); c.Status != pending.StatusCompleted {
			t.Errorf("Held returned status %s, want completed", c.Status)
		}
	})
}

func TestHeldAcceptsOnlyTheLatestAttempt(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		made := create(t, s)
		pop(t, s)
		for name, tc := range map[string]struct {
			id      string
			attempt int
			opts    []pending.GetOption
			want    error
		}{
			"the latest attempt": {made.ID, 1, []pending.GetOption{pending.InMailbox(box)}, nil},
			"an earlier attempt": {made.ID, 0, nil, pending.ErrStaleClaim},
			"a later attempt":    {made.ID, 2, nil, pending.ErrStaleClaim},
			"any attempt":        {made.ID, pending.AnyAttempt, nil, pending.ErrInvalid},
			"no such request":    {backends.NewID(box), 1, nil, pending.ErrNotFound},
			"another mailbox": {made.ID, 1, []pending.GetOption{pending.InMailbox("other")},
				pending.ErrNotFound},
		} {
			c, err := s.Held(t.Context(), tc.id, tc.attempt, tc.opts...)
			if !errors.Is(err, tc.want) || (c == nil) != (err != nil) {
				t.Errorf("%s: got claim %v and error %v, want error %v", name, c, err, tc.want)
			}
		}
	})
}

func TestAnyAttemptAcceptsTheOnlyAttempt(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		claimed := create(t, s)
		pop(t, s)
		unclaimed := create(t, s)
		for _, id := range []string{claimed.ID, unclaimed.ID} {
			mustDo(t, report(t, s, id, pending.AnyAttempt, "up"))
			if got := get(t, s, id); got.Status != pending.StatusCompleted {
				t.Errorf("got %s, want completed", got.Status)
			}
		}
	})
}

// The two programs differ in one line. One completes a Claim, and builds. The other completes a
// Request, and does not build.
func TestARequestCannotBeCompleted(t *testing.T) {
	build := func(program string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", "vet", "./testdata/"+program)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := build("claim"); err != nil {
		t.Errorf("completing a claim: %v\n%s", err, out)
	}
	const refusal = "*pending.Request[string]) as *pending.Claim[string] value"
	if out, err := build("request"); err == nil || !strings.Contains(out, refusal) {
		t.Errorf("completing a request: got %v, want a compiler error\n%s", err, out)
	}
}

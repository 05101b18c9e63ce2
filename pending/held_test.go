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

// twice is a policy with a second attempt.
func twice() pending.Policy {
	p := policy()
	p.MaxAttempts = 2
	return p
}

// report is what an API node does with the report of a worker.
func report(t *testing.T, s *pending.PendingStore[job], id string, attempt int, output string) error {
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
		late, byReport := create(t, s), create(t, s)
		_, _ = pop(t, s), pop(t, s)
		old := held(t, s, late.ID, 1)
		calls.Pass(2*time.Minute + time.Second)
		_, _ = pop(t, s), pop(t, s)

		old.Payload.Output = "late"
		if err := s.Complete(t.Context(), old); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("the late worker, in process: got %v, want ErrStaleClaim", err)
		}
		if err := report(t, s, byReport.ID, 1, "late"); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("the late worker, by a report: got %v, want ErrStaleClaim", err)
		}
		for _, id := range []string{late.ID, byReport.ID} {
			mustDo(t, report(t, s, id, 2, "in time"))
			if got := get(t, s, id); got.Payload.Output != "in time" || got.Attempt != 2 {
				t.Errorf("got %q at attempt %d, want the holder's answer", got.Payload.Output, got.Attempt)
			}
		}
	})
}

func TestAReportMayBeRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		made := create(t, s)
		pop(t, s)
		mustDo(t, report(t, s, made.ID, 1, "up"))
		mustDo(t, report(t, s, made.ID, 1, "up"))
		if err := report(t, s, made.ID, 1, "down"); !errors.Is(err, pending.ErrEnded) {
			t.Errorf("another answer: got %v, want ErrEnded", err)
		}
		if c := held(t, s, made.ID, 1); c.Status != pending.StatusCompleted {
			t.Errorf("a handler with side effects sees %s, want completed", c.Status)
		}
	})
}

func TestHeldRefusesWhatIsNotTheLatestClaim(t *testing.T) {
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
			"its attempt":        {made.ID, 1, []pending.GetOption{pending.InMailbox(box)}, nil},
			"before the claim":   {made.ID, 0, nil, pending.ErrStaleClaim},
			"a later attempt":    {made.ID, 2, nil, pending.ErrStaleClaim},
			"any attempt of two": {made.ID, pending.AnyAttempt, nil, pending.ErrInvalid},
			"no such request":    {backends.NewID(box), 1, nil, pending.ErrNotFound},
			"another mailbox": {made.ID, 1, []pending.GetOption{pending.InMailbox("other")},
				pending.ErrNotFound},
		} {
			c, err := s.Held(t.Context(), tc.id, tc.attempt, tc.opts...)
			if !errors.Is(err, tc.want) || (c == nil) != (err != nil) {
				t.Errorf("%s: got %v, %v; want %v", name, c, err, tc.want)
			}
		}
	})
}

func TestAnyAttemptIsTheOnlyClaimThereCanBe(t *testing.T) {
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

// The two programs differ in one line. The one that completes a Request does not build.
func TestARequestCannotBeCompleted(t *testing.T) {
	build := func(program string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "go", "vet", "./testdata/"+program).CombinedOutput()
		return string(out), err
	}
	if out, err := build("claim"); err != nil {
		t.Errorf("completing a claim: %v\n%s", err, out)
	}
	const refusal = "*pending.Request[string]) as *pending.Claim[string] value"
	if out, err := build("request"); err == nil || !strings.Contains(out, refusal) {
		t.Errorf("completing a request: got %v, want a refusal by the compiler\n%s", err, out)
	}
}

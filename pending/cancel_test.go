package pending_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// patient is a policy that leaves a worker time after a cancel, and two attempts.
func patient() pending.Policy {
	p := twice()
	p.CancelGrace = 10 * time.Second
	return p
}

func TestACancelEndsARequestAtOnceWithoutAGrace(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		for _, p := range []pending.Policy{policy(), patient()} {
			s := newStore(t, b, p)
			r := create(t, s)
			if p.CancelGrace == 0 {
				pop(t, s)
			}
			mustDo(t, s.Cancel(t.Context(), r, "the page was closed"))
			if r.Status != pending.StatusCancelled || r.Error != "the page was closed" {
				t.Errorf("in the caller's hand: %s, %q", r.Status, r.Error)
			}
			checkRequest(t, get(t, s, r.ID), *r)
			again := *r
			mustDo(t, s.Cancel(t.Context(), &again, "another reason"))
			if again.Error != r.Error {
				t.Errorf("the second cancel changed the reason to %q", again.Error)
			}
			if err := report(t, s, r.ID, r.Attempt, "late"); !errors.Is(err, pending.ErrEnded) {
				t.Errorf("the worker's report: got %v, want ErrEnded", err)
			}
		}
	})
}

func TestAWorkerLearnsOfACancelAndMayFinishOrStop(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		for name, tc := range map[string]struct {
			end    func(c *pending.Claim[job]) error
			status pending.Status
			reason string
		}{
			"it completes": {func(c *pending.Claim[job]) error { return s.Complete(t.Context(), c) },
				pending.StatusCompleted, ""},
			"it stops": {func(c *pending.Claim[job]) error {
				return s.Finish(t.Context(), c, pending.StatusCancelled)
			}, pending.StatusCancelled, "why"},
			"it releases": {func(c *pending.Claim[job]) error { return s.Release(t.Context(), c, 0) },
				pending.StatusCancelled, "why"},
		} {
			r := create(t, s)
			c := pop(t, s, pending.WithClaimID(name))
			stop := s.Finish(t.Context(), c, pending.StatusCancelled)
			if !errors.Is(stop, pending.ErrInvalid) {
				t.Errorf("%s: stopping before any cancel: got %v, want ErrInvalid", name, stop)
			}
			mustDo(t, s.Cancel(t.Context(), r, "why"))
			if left := time.Until(r.Deadline); r.Status != pending.StatusRunning || left != 10*time.Second {
				t.Errorf("%s: the request is %s for %v, want running for its grace", name, r.Status, left)
			}
			for what, told := range map[string]*pending.Claim[job]{
				"a repeated pop": pop(t, s, pending.WithClaimID(name)), "Held": held(t, s, r.ID, 1)} {
				if !told.CancelRequested || told.CancelReason != "why" {
					t.Errorf("%s: %s does not tell of the cancel", name, what)
				}
			}
			calls.Pass(time.Second)
			mustDo(t, s.Extend(t.Context(), c))
			if !c.CancelRequested || c.CancelReason != "why" || !c.Deadline.Equal(r.Deadline) {
				t.Errorf("%s: Extend told %v, %q, until %v", name, c.CancelRequested, c.CancelReason, c.Deadline)
			}
			c.Payload.Output = "as far as it got"
			mustDo(t, tc.end(c))
			got := get(t, s, r.ID)
			if got.Status != tc.status || got.Error != tc.reason || got.Payload.Output != c.Payload.Output {
				t.Errorf("%s: got %s, %q, %q", name, got.Status, got.Error, got.Payload.Output)
			}
			mustDo(t, tc.end(c)) // its answer was lost
		}
	})
}

func TestAWorkerThatIgnoresACancelIsOverruled(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		r := create(t, s)
		c := pop(t, s)
		mustDo(t, s.Cancel(t.Context(), r, ""))
		for range 3 {
			calls.Pass(3 * time.Second)
			mustDo(t, s.Extend(t.Context(), c))
		}
		calls.Pass(time.Second + time.Microsecond)
		got := get(t, s, r.ID)
		if got.Status != pending.StatusCancelled || got.Error != "cancelled by the requester" {
			t.Errorf("got %s, %q", got.Status, got.Error)
		}
		for name, err := range map[string]error{"Complete": s.Complete(t.Context(), c),
			"Extend": s.Extend(t.Context(), c), "Progress": s.Progress(t.Context(), c)} {
			if !errors.Is(err, pending.ErrEnded) {
				t.Errorf("%s: got %v, want ErrEnded", name, err)
			}
		}
		if _, err := s.PopPending(t.Context(), box); !errors.Is(err, pending.ErrNoPending) {
			t.Errorf("the next attempt: got %v, want ErrNoPending", err)
		}
		mustDo(t, s.Cancel(t.Context(), r, "again"))
	})
}

func TestACancelAfterTheEndIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		r := create(t, s)
		mustDo(t, s.Complete(t.Context(), pop(t, s)))
		if err := s.Cancel(t.Context(), r, "why"); !errors.Is(err, pending.ErrEnded) {
			t.Errorf("got %v, want ErrEnded", err)
		}
		r.ID = backends.NewID(box)
		if err := s.Cancel(t.Context(), r, "why"); !errors.Is(err, pending.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestProgressIsReadAndGoesOnInTheNextAttempt(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		r := create(t, s)
		c := pop(t, s)
		calls.Pass(time.Minute)
		c.Payload.Output = "half"
		mustDo(t, s.Progress(t.Context(), c))
		got := get(t, s, r.ID)
		if got.Payload.Output != "half" || got.Status != pending.StatusRunning {
			t.Errorf("the requester reads %q, %s", got.Payload.Output, got.Status)
		}
		if left := time.Until(c.Deadline); left != 2*time.Minute {
			t.Errorf("the lease lasts %v, want it renewed", left)
		}
		calls.Pass(2*time.Minute + time.Second)
		if err := s.Progress(t.Context(), c); !errors.Is(err, pending.ErrStaleClaim) {
			t.Errorf("progress on an expired lease: got %v, want ErrStaleClaim", err)
		}
		if next := pop(t, s); next.Payload.Output != "half" || next.Payload.Owner != "ada" {
			t.Errorf("the next attempt got %+v", next.Payload)
		}
		c.Payload.Output = strings.Repeat("x", 20<<20)
		if err := s.Progress(t.Context(), c); !errors.Is(err, pending.ErrTooLarge) {
			t.Errorf("progress over the limit: got %v, want ErrTooLarge", err)
		}
	})
}

func TestAReleasedRequestIsClaimedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		for _, after := range []time.Duration{0, time.Minute} {
			r := create(t, s)
			c := pop(t, s)
			mustDo(t, s.Release(t.Context(), c, after))
			if _, err := s.PopPending(t.Context(), box); after > 0 && !errors.Is(err, pending.ErrNoPending) {
				t.Errorf("released for %v: got %v, want ErrNoPending", after, err)
			} else if after > 0 {
				calls.Pass(after)
			} else if err != nil {
				t.Fatal(err)
			}
			if after > 0 {
				pop(t, s)
			}
			if got := get(t, s, r.ID); got.Attempt != 2 {
				t.Errorf("released for %v: got attempt %d, want 2", after, got.Attempt)
			}
			if err := s.Complete(t.Context(), c); !errors.Is(err, pending.ErrStaleClaim) {
				t.Errorf("who released it completes: got %v, want ErrStaleClaim", err)
			}
			last := held(t, s, r.ID, 2)
			for want, err := range map[string]error{
				"attempt 2 is the last": s.Release(t.Context(), last, 0),
				"the pause is -1ns":     s.Release(t.Context(), last, -1),
			} {
				if !errors.Is(err, pending.ErrInvalid) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want ErrInvalid that says %s", err, want)
				}
			}
			mustDo(t, s.Complete(t.Context(), last))
		}
	})
}

func TestHeadersTravelWithTheRequest(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		headers := map[string]string{"traceparent": "00-4bf9-01", "é\x00": ""}
		r := create(t, s, pending.WithHeaders(headers))
		want := map[string]string{"traceparent": "00-4bf9-01", "é\x00": ""}
		headers["traceparent"] = "changed"
		check := func(what string, got map[string]string) {
			t.Helper()
			if len(got) != 2 || got["traceparent"] != want["traceparent"] {
				t.Errorf("%s: got %q, want %q", what, got, want)
			}
		}
		check("Get", get(t, s, r.ID).Headers)
		c := pop(t, s)
		check("PopPending", c.Headers)
		mustDo(t, s.Progress(t.Context(), c))
		mustDo(t, s.Release(t.Context(), c, 0))
		c = pop(t, s)
		check("the next attempt", c.Headers)
		mustDo(t, s.Complete(t.Context(), c))
		check("the answer", get(t, s, r.ID).Headers)
		for want, headers := range map[string]map[string]string{
			"headers in bytes is 4097": {"x": strings.Repeat("y", 4096)}, `"\xff"`: {"\xff": ""}, `""`: {"": "x"}} {
			_, err := s.Create(t.Context(), box, job{}, pending.WithHeaders(headers))
			if !errors.Is(err, pending.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want ErrInvalid that says %s", err, want)
			}
		}
	})
}

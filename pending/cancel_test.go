package pending_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

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
				t.Errorf("Cancel set status %s and error %q", r.Status, r.Error)
			}
			checkRequest(t, get(t, s, r.ID), *r)
			again := *r
			mustDo(t, s.Cancel(t.Context(), &again, "another reason"))
			if again.Error != r.Error {
				t.Errorf("the second cancel changed the reason to %q", again.Error)
			}
			err := report(t, s, r.ID, r.Attempt, "late")
			checkErr(t, "the worker's report", err, pending.ErrEnded)
		}
	})
}

func TestAWorkerLearnsOfACancelAndMayFinishOrStop(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		stop := func(c *jobClaim) error {
			return s.Finish(t.Context(), c, pending.StatusCancelled)
		}
		for name, tc := range map[string]struct {
			end    func(c *jobClaim) error
			status pending.Status
			reason string
		}{
			"Complete": {func(c *jobClaim) error { return s.Complete(t.Context(), c) },
				pending.StatusCompleted, ""},
			"Finish": {stop, pending.StatusCancelled, "why"},
			"Release": {func(c *jobClaim) error { return s.Release(t.Context(), c, 0) },
				pending.StatusCancelled, "why"},
		} {
			r := create(t, s)
			c := pop(t, s, pending.WithClaimID(name))
			checkErr(t, "Finish before any cancel", stop(c), pending.ErrInvalid)
			mustDo(t, s.Cancel(t.Context(), r, "why"))
			left := time.Until(r.Deadline)
			if r.Status != pending.StatusRunning || left != 10*time.Second {
				t.Errorf("%s: the request is %s for %v, want running for 10s", name, r.Status, left)
			}
			repeat := pop(t, s, pending.WithClaimID(name))
			checkTellsCancel(t, name+", a repeated pop", repeat, r.Deadline)
			checkTellsCancel(t, name+", Held", held(t, s, r.ID, 1), r.Deadline)
			calls.Pass(time.Second)
			mustDo(t, s.Extend(t.Context(), c))
			checkTellsCancel(t, name+", Extend", c, r.Deadline)
			c.Payload.Output = "partial"
			mustDo(t, tc.end(c))
			got := get(t, s, r.ID)
			output := got.Payload.Output
			if got.Status != tc.status || got.Error != tc.reason || output != "partial" {
				t.Errorf("%s: got %s, error %q, output %q", name, got.Status, got.Error, output)
			}
			mustDo(t, tc.end(c)) // a retry, because the reply was lost
			again := held(t, s, r.ID, 1)
			again.Payload = c.Payload
			mustDo(t, tc.end(again)) // a retry at another node
		}
	})
}

// checkTellsCancel checks that a claim has the reason and the deadline of a cancel.
func checkTellsCancel(t *testing.T, what string, c *jobClaim, deadline time.Time) {
	t.Helper()
	if !c.CancelRequested || c.CancelReason != "why" || !c.Deadline.Equal(deadline) {
		t.Errorf("%s: cancel requested %v because %q, deadline %v; want true, why, %v",
			what, c.CancelRequested, c.CancelReason, c.Deadline, deadline)
	}
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
		checkErr(t, "Complete", s.Complete(t.Context(), c), pending.ErrEnded)
		checkErr(t, "Extend", s.Extend(t.Context(), c), pending.ErrEnded)
		checkErr(t, "Progress", s.Progress(t.Context(), c), pending.ErrEnded)
		_, err := s.PopPending(t.Context(), box)
		checkErr(t, "the next attempt", err, pending.ErrNoPending)
		mustDo(t, s.Cancel(t.Context(), r, "again"))
	})
}

func TestAWorkerCannotInventACancel(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		r := create(t, s)
		c := pop(t, s)
		c.CancelRequested, c.CancelReason = true, "invented"
		err := s.Finish(t.Context(), c, pending.StatusCancelled)
		checkErr(t, "Finish", err, pending.ErrInvalid)
		mustDo(t, s.Release(t.Context(), c, 0))
		if got := get(t, s, r.ID); got.Status != pending.StatusPending {
			t.Errorf("after Release: got %s, %q; want pending", got.Status, got.Error)
		}
		c = pop(t, s)
		mustDo(t, s.Cancel(t.Context(), r, "why"))
		mustDo(t, s.Extend(t.Context(), c))
		c.CancelReason = "invented"
		mustDo(t, s.Finish(t.Context(), c, pending.StatusCancelled))
		if got := get(t, s, r.ID); got.Error != "why" {
			t.Errorf("got the reason %q, want why", got.Error)
		}
	})
}

func TestARequesterSeesThatACancelIsRequested(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, patient())
		check := func(what string, r *jobRequest, status pending.Status, reason string) {
			t.Helper()
			if r.Status != status || r.CancelRequested != (reason != "") ||
				r.CancelReason != reason {
				t.Errorf("%s: got %s, cancel requested %t because %q; want %s, %q",
					what, r.Status, r.CancelRequested, r.CancelReason, status, reason)
			}
		}
		r := create(t, s)
		completed := pop(t, s)
		check("running", get(t, s, r.ID), pending.StatusRunning, "")
		mustDo(t, s.Cancel(t.Context(), r, "why"))
		check("Cancel", r, pending.StatusRunning, "why")
		check("Get", get(t, s, r.ID), pending.StatusRunning, "why")
		page, err := s.List(t.Context(), box, pending.ListOptions{})
		mustDo(t, err)
		check("List", page.Requests[0], pending.StatusRunning, "why")
		mustDo(t, s.Complete(t.Context(), completed))
		check("completed", get(t, s, r.ID), pending.StatusCompleted, "")

		r = create(t, s)
		pop(t, s)
		mustDo(t, s.Cancel(t.Context(), r, "why"))
		calls.Pass(10*time.Second + time.Microsecond)
		check("after the grace", get(t, s, r.ID), pending.StatusCancelled, "why")
	})
}

// Only the ID is needed, so a route that cancels need not read the request first.
func TestACancelNeedsOnlyTheID(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		for _, mailbox := range []string{"", "other"} {
			cancelled := &jobRequest{ID: create(t, s).ID, Mailbox: mailbox}
			mustDo(t, s.Cancel(t.Context(), cancelled, "why"))
			timedOut := &jobRequest{ID: create(t, s).ID, Mailbox: mailbox}
			mustDo(t, s.Timeout(t.Context(), timedOut))
			if cancelled.Mailbox != box || timedOut.Mailbox != box {
				t.Errorf("got mailboxes %q and %q", cancelled.Mailbox, timedOut.Mailbox)
			}
			_, err := s.PopPending(t.Context(), box)
			checkErr(t, "a pop", err, pending.ErrNoPending)
		}
	})
}

func TestACancelAfterTheEndIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		r := create(t, s)
		mustDo(t, s.Complete(t.Context(), pop(t, s)))
		checkErr(t, "Cancel after the end", s.Cancel(t.Context(), r, "why"), pending.ErrEnded)
		r.ID = backends.NewID(box)
		err := s.Cancel(t.Context(), r, "why")
		checkErr(t, "Cancel of an unknown request", err, pending.ErrNotFound)
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
		checkErr(t, "Progress, expired", s.Progress(t.Context(), c), pending.ErrStaleClaim)
		if next := pop(t, s); next.Payload.Output != "half" || next.Payload.Owner != "ada" {
			t.Errorf("the next attempt got %+v", next.Payload)
		}
		c.Payload.Output = strings.Repeat("x", 20<<20)
		checkErr(t, "Progress over the limit", s.Progress(t.Context(), c), pending.ErrTooLarge)
	})
}

func TestAReleasedRequestIsClaimedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		for _, after := range []time.Duration{0, time.Minute} {
			r := create(t, s)
			c := pop(t, s)
			mustDo(t, s.Release(t.Context(), c, after))
			if after > 0 {
				_, err := s.PopPending(t.Context(), box)
				checkErr(t, "a pop before the pause is over", err, pending.ErrNoPending)
				calls.Pass(after)
			}
			pop(t, s)
			if got := get(t, s, r.ID); got.Attempt != 2 {
				t.Errorf("released for %v: got attempt %d, want 2", after, got.Attempt)
			}
			checkErr(t, "Complete after Release", s.Complete(t.Context(), c), pending.ErrStaleClaim)
			last := held(t, s, r.ID, 2)
			for want, err := range map[string]error{
				"attempt 2 is the last": s.Release(t.Context(), last, 0),
				"the pause is -1ns":     s.Release(t.Context(), last, -1),
			} {
				checkInvalid(t, err, want)
			}
			mustDo(t, s.Complete(t.Context(), last))
		}
	})
}

func TestHeadersStayWithTheRequest(t *testing.T) {
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
			"headers in bytes is 4097": {"x": strings.Repeat("y", 4096)},
			`"\xff"`:                   {"\xff": ""},
			`""`:                       {"": "x"},
		} {
			_, err := s.Create(t.Context(), box, job{}, pending.WithHeaders(headers))
			checkInvalid(t, err, want)
		}
	})
}

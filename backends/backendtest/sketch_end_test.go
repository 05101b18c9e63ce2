package backendtest

import (
	"context"
	"time"

	"github.com/pendingq/pendingq/backends"
)

func (s *sketch) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	now := s.begin("Cancel")
	defer s.mu.Unlock()
	s.terms(&c.Terms)
	c.Outcome, c.Grace = s.cut("a noted outcome", c.Outcome), s.lasts("a grace", c.Grace)
	r, err := s.live(c.Store, c.ID, now)
	if err != nil {
		return backends.Record{}, err
	}
	before := s.head("Cancel", r, now)
	running := before.Status == backends.StatusRunning
	if s.has("a cancel leaves a grace to an expired lease") {
		running = r.rec.Status == backends.StatusRunning
	}
	switch {
	case s.has("a noted cancel cannot be overruled") && r.rec.CancelledAs != "":
	case !running || c.Grace == 0:
		s.gap("a cancel is not atomic")
		earlier := r.goes
		s.finish(r, c.Outcome, c.Error, c.Retention, now)
		s.believe("a cancel without a grace", r, c.Mailbox)
		s.expires("a cancel", r, earlier)
	case r.rec.CancelledAs == "":
		s.note(r, c, now)
	case s.has("a second cancel changes the reason"):
		r.rec.CancelReason = c.Error
	case s.has("a second cancel changes the outcome"):
		r.rec.CancelledAs = c.Outcome
	case s.has("a second cancel moves the deadline"):
		s.note(r, c, now)
	case s.has("a second cancel changes UpdatedAt"):
		rec := s.head("Cancel", r, now)
		r.rec.UpdatedAt = now
		return rec, nil
	}
	if s.has("a cancel loses the headers") {
		r.rec.Headers = nil
	}
	if s.has("Cancel returns the record as it was before") {
		return before, nil
	}
	return s.head("Cancel", r, now), nil
}

// note notes a cancel.
func (s *sketch) note(r *sketched, c backends.Cancel, now time.Time) {
	s.believe("a noted cancel", r, c.Mailbox)
	r.rec.CancelledAs, r.rec.CancelReason = c.Outcome, s.text("a cancel reason", c.Error)
	if s.has("every cancel that was noted reads as cancelled") {
		r.rec.CancelledAs = backends.StatusCancelled
	}
	if !s.has("a noted cancel does not change UpdatedAt") {
		r.rec.UpdatedAt = now
	}
	grace := now.Add(c.Grace)
	if grace.Before(r.rec.Deadline) || s.has("a grace makes a lease longer") {
		r.rec.Deadline = grace
	} else if s.has("an attempt follows a grace that is longer than the lease") {
		return
	}
	if !s.has("an attempt follows a grace") {
		r.rec.LastDeadline = r.rec.Deadline
	}
	if !s.has("a noted cancel does not move the record's expiry") {
		r.goes = r.rec.LastDeadline.Add(c.Retention)
	}
	if !s.has("a noted cancel sends no signal") {
		s.changed.Wake(c.ID)
	}
}

func (s *sketch) End(ctx context.Context, e backends.End) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	now := s.begin("End")
	defer s.mu.Unlock()
	s.terms(&e.Terms)
	e.Codec, e.Outcome = s.cut("an answer's codec", e.Codec), s.cut("an outcome", e.Outcome)
	r, err := s.live(e.Store, e.ID, now)
	if err != nil {
		return backends.Record{}, err
	}
	lost := s.has("an expired lease cannot be ended") && r.rec.Attempt > 0 &&
		now.After(r.rec.Deadline)
	unclaimed := s.has("an unclaimed request cannot be ended") && r.rec.Attempt == 0
	if s.has("an End goes by the attempt alone") {
		e.StartedAt = time.Time{}
	}
	stale := !r.rec.HasClaim(e.Attempt, e.StartedAt) && !s.has("any attempt may end a request")
	if stale || lost || unclaimed {
		return backends.Record{}, backends.ErrStaleClaim
	}
	s.gap("an end is not atomic")
	r.rec.Codec, r.rec.Payload = e.Codec, s.keep("End", e.Payload)
	earlier := r.goes
	s.finish(r, e.Outcome, e.Error, e.Retention, now)
	s.expires("an end", r, earlier)
	return s.head("End", r, now), nil
}

// finish ends a request.
func (s *sketch) finish(
	r *sketched, outcome, reason string, retention time.Duration, now time.Time,
) {
	r.rec.Status, r.rec.Error = outcome, s.text("an error", reason)
	if !s.has("an end does not change UpdatedAt") {
		r.rec.UpdatedAt = now
	}
	if s.has("an end moves the deadlines") {
		r.rec.Deadline, r.rec.LastDeadline = now, now
	}
	if !s.has("an end keeps a noted cancel") {
		r.rec.CancelledAs, r.rec.CancelReason = "", ""
	}
	if s.has("an end loses the headers") {
		r.rec.Headers = nil
	}
	r.goes = now.Add(retention)
	if s.has("an ended record disappears at once") {
		r.goes = now
	}
	if !s.has("an end sends no signal") {
		s.changed.Wake(r.rec.ID)
	}
}

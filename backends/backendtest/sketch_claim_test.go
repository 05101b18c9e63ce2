package backendtest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
)

func (s *sketch) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := s.begin("Claim")
	defer s.mu.Unlock()
	c.From = s.from(c.From)
	memo := s.claims[c.ID]
	if s.has("a claim is never remembered") {
		memo = nil
	}
	if memo != nil && now.After(memo.until) && !s.has("a claim id is remembered for ever") {
		memo = nil
	}
	if memo == nil {
		memo = &sketchedClaim{}
		for i, from := range c.From {
			s.take(memo, c.Mailbox, from, now)
			if i == 0 && len(memo.taken) == 0 &&
				s.has("a claim is not remembered when its first store was empty") {
				c.ID = "nobody's"
			}
		}
		if len(memo.taken) > 0 || s.has("a claim that found nothing is remembered") {
			s.claims[c.ID] = memo
		}
		if s.has("a claim that found nothing is remembered") {
			memo.until = now.Add(long)
		}
	}
	return s.results(c, memo, now), nil
}

// take claims requests of one store.
func (s *sketch) take(memo *sketchedClaim, mailbox string, from backends.From, now time.Time) {
	pending := s.in(from.Store, mailbox, now, backends.StatusPending)
	if s.has("Claim skips requests with the claimer's MaxAttempts") {
		pending = slices.DeleteFunc(pending, func(r *sketched) bool {
			return r.rec.Attempt >= from.MaxAttempts
		})
	}
	s.gap("a claim is not atomic")
	for _, r := range pending[:min(len(pending), from.Limit)] {
		r.rec.Status = backends.StatusRunning
		r.rec.Attempt++
		if s.has("an attempt has two digits") {
			r.rec.Attempt %= 100
		}
		r.rec.UpdatedAt = now
		if r.rec.Attempt == 1 || !s.has("the next attempt keeps StartedAt of the first") {
			r.rec.StartedAt = now
		}
		s.lease(r, from.Terms, from.RunningTimeout, now)
		if s.has("a claim loses the headers") {
			r.rec.Headers = nil
		}
		memo.taken = append(memo.taken, r)
		memo.attempts = append(memo.attempts, r.rec.Attempt)
		if memo.until.IsZero() || r.rec.Deadline.After(memo.until) &&
			!s.has("a claim is remembered until its earliest deadline") {
			memo.until = r.rec.Deadline
		}
	}
}

// results returns the requests of a claim that still run.
func (s *sketch) results(
	c backends.Claim, memo *sketchedClaim, now time.Time,
) []backends.Claimed {
	results := make([]backends.Claimed, len(c.From))
	for i, r := range memo.taken {
		if s.has("a repeated claim goes by the id alone") {
			if r = s.find(r.key.store, r.key.id, now); r == nil {
				continue
			}
		}
		rec := s.at(r, now)
		stale := rec.Attempt != memo.attempts[i] &&
			!s.has("a repeated claim returns requests of a later claim")
		cancelled := r.rec.CancelledAs != "" &&
			s.has("a repeated claim leaves out a noted cancel")
		if stale || cancelled || rec.Status != backends.StatusRunning {
			continue
		}
		for place, from := range c.From {
			if from.Store == r.key.store {
				results[place].Records = append(results[place].Records, rec)
			}
		}
	}
	return results
}

// lease gives a claimed request new deadlines.
func (s *sketch) lease(r *sketched, t backends.Terms, lasts time.Duration, now time.Time) {
	r.rec.Deadline = now.Add(lasts)
	r.rec.LastDeadline = r.rec.Deadline
	if r.rec.Attempt < t.MaxAttempts {
		r.rec.LastDeadline = r.rec.Deadline.Add(t.PendingTimeout)
		if !s.has("an expired lease sends no signal, without polling") {
			mailbox := r.rec.Mailbox
			time.AfterFunc(lasts+time.Microsecond, func() { s.claimable.Wake(mailbox) })
		}
	}
	r.goes = r.rec.LastDeadline.Add(t.Retention)
}

func (s *sketch) Extend(ctx context.Context, x backends.Extend) (backends.Lease, error) {
	if err := ctx.Err(); err != nil {
		return backends.Lease{}, err
	}
	now := s.begin("Extend")
	defer s.mu.Unlock()
	s.terms(&x.Terms)
	x.After = s.lasts("a pause", x.After)
	r, err := s.live(x.Store, x.ID, now)
	if err != nil {
		return backends.Lease{}, err
	}
	expired := now.After(r.rec.Deadline)
	switch {
	case s.has("an expired lease can be extended"):
		expired = false
	case s.has("an expired lease cannot be released"), !x.Release:
	default:
		expired = false
	}
	if s.has("an Extend goes by the attempt alone") {
		x.StartedAt = time.Time{}
	}
	stale := !r.rec.HasClaim(x.Attempt, x.StartedAt) && !(x.Release && s.has("anyone may release"))
	if r.rec.Status != backends.StatusRunning || stale || expired {
		if s.has("refused progress is stored") && x.Codec != "" {
			r.rec.Codec, r.rec.Payload = x.Codec, bytes.Clone(x.Payload)
		}
		return backends.Lease{}, backends.ErrStaleClaim
	}
	s.extend(r, x, now)
	return backends.Lease{UpdatedAt: now, Deadline: r.rec.Deadline,
		CancelledAs: r.rec.CancelledAs, CancelReason: r.rec.CancelReason}, nil
}

// stores reports whether an Extend stores its payload.
func (s *sketch) stores(x backends.Extend) bool {
	switch {
	case s.has("a release stores no progress") && x.Release:
		return false
	case s.has("a payload without a codec is stored") && x.Payload != nil,
		s.has("an extension without progress loses the payload"):
		return true
	}
	return x.Codec != ""
}

func (s *sketch) extend(r *sketched, x backends.Extend, now time.Time) {
	r.rec.UpdatedAt = now
	s.believe("an Extend", r, x.Mailbox)
	if x.Release {
		s.believe("a release", r, x.Mailbox)
	}
	if len(x.Payload) > 32<<10 {
		s.believe("large progress", r, x.Mailbox)
	}
	store := s.stores(x)
	if store {
		r.rec.Codec, r.rec.Payload = x.Codec, s.keep("Extend", x.Payload)
		if s.has("progress loses the headers") {
			r.rec.Headers = nil
		}
	}
	if store && !s.has("progress sends no signal") ||
		x.Release && !s.has("a release sends no signal") {
		s.changed.Wake(x.ID)
	}
	if r.rec.CancelledAs != "" && !s.has("an Extend moves a grace deadline") &&
		(!x.Release || !s.has("a release ignores a noted cancel")) {
		return
	}
	s.renew(r, x, now)
}

// renew moves the deadlines of a request.
func (s *sketch) renew(r *sketched, x backends.Extend, now time.Time) {
	goes, last, lasts := r.goes, r.rec.LastDeadline, x.RunningTimeout
	if x.Release {
		lasts = x.After - time.Microsecond
		if s.has("a release forgets its pause") {
			lasts = -time.Microsecond
		}
		if s.has("a released request cannot be claimed") {
			x.MaxAttempts = 1
		}
		if s.has("a release loses the headers") {
			r.rec.Headers = nil
		}
	}
	s.lease(r, x.Terms, lasts, now)
	if s.has("an Extend does not move the record's expiry") {
		r.goes = goes
	}
	if s.has("a release does not move the record's expiry") && x.Release {
		r.goes = goes
	}
	if s.has("an Extend keeps the last deadline of the claim") && last.After(r.rec.Deadline) {
		r.rec.LastDeadline = last
	}
}

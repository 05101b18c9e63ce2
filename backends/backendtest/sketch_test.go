package backendtest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/wake"
)

// sketch is a Backend in its simplest form: one lock, no index, nothing saved. It is right, unless
// it has the fault that it was made with. The names of the faults stand where they act.
type sketch struct {
	fault     string
	mu        sync.Mutex
	requests  map[requestKey]*sketched
	claims    map[string]*sketchedClaim
	claimable wake.Hub // by mailbox
	changed   wake.Hub // by id
}

type requestKey struct{ store, id string }

// sketched is a stored request.
type sketched struct {
	key  requestKey
	rec  backends.Record // as stored
	goes time.Time       // when it disappears
}

// sketchedClaim is what a claim took.
type sketchedClaim struct {
	taken    []*sketched
	attempts []int
	until    time.Time
}

func newSketch(fault string) *sketch {
	return &sketch{fault: fault,
		requests: map[requestKey]*sketched{}, claims: map[string]*sketchedClaim{}}
}

func (s *sketch) has(fault string) bool { return s.fault == fault }

func clock() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// moment is what a fault waits.
func moment() { calls.Pass(300 * time.Microsecond) }

// begin takes the lock and reads the clock. The caller unlocks.
func (s *sketch) begin(operation string) (now time.Time) {
	if s.has(operation + " reads the clock before it takes the lock") {
		now = clock()
		moment()
		s.mu.Lock()
		return now
	}
	s.mu.Lock()
	return clock()
}

// gap is between a check and what is done after it.
func (s *sketch) gap(fault string) {
	if s.has(fault) {
		s.mu.Unlock()
		moment()
		s.mu.Lock()
	}
}

func (s *sketch) find(store, id string, now time.Time) *sketched {
	r := s.requests[requestKey{store, id}]
	if r != nil && now.After(r.goes) && !s.has("a record never goes") {
		return nil
	}
	return r
}

// at is the record as a caller gets it.
func (s *sketch) at(r *sketched, now time.Time) backends.Record {
	rec := r.rec.At(now)
	if s.has("a request is not live at its deadline") && !rec.Ended() && rec.Deadline.Equal(now) {
		rec = r.rec.At(now.Add(time.Microsecond))
		rec.ReadAt = now
	}
	if !s.has("a returned payload is shared with the store") {
		rec.Payload = bytes.Clone(rec.Payload)
	}
	if !s.has("a returned header map is shared with the store") {
		rec.Headers = maps.Clone(rec.Headers)
	}
	switch {
	case s.has("ReadAt is not set"):
		rec.ReadAt = time.Time{}
	case s.has("ReadAt of what has ended is the present"):
		rec.ReadAt = now
	case s.has("times are local"):
		rec.CreatedAt = rec.CreatedAt.In(time.FixedZone("CET", 3600))
	case s.has("times have nanoseconds"):
		rec.CreatedAt = rec.CreatedAt.Add(time.Nanosecond)
	}
	return rec
}

// head is the record as End and Cancel return it, without its payload.
func (s *sketch) head(operation string, r *sketched, now time.Time) backends.Record {
	rec := s.at(r, now)
	if !s.has(operation + " returns the payload") {
		rec.Codec, rec.Payload = "", nil
	}
	if s.has(operation + " returns an older UpdatedAt") {
		rec.UpdatedAt = rec.CreatedAt
	}
	if s.has(operation + " returns no headers") {
		rec.Headers = nil
	}
	return rec
}

// keep is the copy of a payload that is stored.
func (s *sketch) keep(operation string, payload []byte) []byte {
	if s.has(operation + " keeps the caller's payload") {
		return payload
	}
	return bytes.Clone(payload)
}

// text is an error text as it is stored.
func (s *sketch) text(kind, text string) string {
	if s.has(kind + " ends at a NUL") {
		text, _, _ = strings.Cut(text, "\x00")
	}
	return text
}

// live returns the request if it has not ended.
func (s *sketch) live(store, id string, now time.Time) (*sketched, error) {
	r := s.find(store, id, now)
	if r == nil {
		return nil, backends.ErrNotFound
	}
	if rec := s.at(r, now); rec.Ended() {
		return nil, &backends.EndedError{Record: rec}
	}
	return r, nil
}

// in returns the requests of a mailbox that read so, the longest claimable first.
func (s *sketch) in(store, mailbox string, now time.Time, statuses ...string) []*sketched {
	var found []*sketched
	for _, r := range s.requests {
		if r.key.store == store && r.rec.Mailbox == mailbox &&
			slices.Contains(statuses, r.rec.At(now).Status) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *sketched) int {
		if s.has("the oldest request comes first") {
			return a.rec.CreatedAt.Compare(b.rec.CreatedAt)
		}
		return a.rec.LastDeadline.Compare(b.rec.LastDeadline)
	})
	return found
}

func (s *sketch) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	now := s.begin("Create")
	defer s.mu.Unlock()
	if r := s.find(c.Store, c.ID, now); r != nil {
		if s.has("a repeated create shows the record as stored") {
			return r.rec, nil
		}
		return s.at(r, now), nil
	}
	if err := s.admits(c, now); err != nil {
		return backends.Record{}, err
	}
	s.gap("a create is not atomic")
	headers := maps.Clone(c.Headers)
	if s.has("Create keeps the caller's headers") {
		headers = c.Headers
	}
	deadline := now.Add(c.PendingTimeout)
	r := &sketched{key: requestKey{c.Store, c.ID}, goes: deadline.Add(c.Retention),
		rec: backends.Record{
			ID: c.ID, Mailbox: c.Mailbox, Status: backends.StatusPending,
			Codec: c.Codec, Payload: s.keep("Create", c.Payload), Headers: headers,
			CreatedAt: now, UpdatedAt: now, Deadline: deadline, LastDeadline: deadline}}
	s.requests[r.key] = r
	s.claimable.Wake(c.Mailbox)
	return s.at(r, now), nil
}

// admits says why a new request is refused.
func (s *sketch) admits(c backends.Create, now time.Time) error {
	pending := s.in(c.Store, c.Mailbox, now, backends.StatusPending)
	running := s.in(c.Store, c.Mailbox, now, backends.StatusRunning)
	full := c.MaxPending > 0 && len(pending) >= c.MaxPending
	if s.has("a full mailbox counts what runs") && c.MaxPending > 0 {
		full = len(pending)+len(running) >= c.MaxPending
	}
	if s.has("full comes before busy") && full {
		return backends.ErrFull
	}
	live := slices.Concat(pending, running)
	switch {
	case s.has("exclusive does not count what runs"):
		live = pending
	case s.has("exclusive does not count a noted cancel"):
		live = slices.DeleteFunc(live, func(r *sketched) bool { return r.rec.CancelledAs != "" })
	case s.has("exclusive does not count an expired lease"):
		live = slices.DeleteFunc(live, func(r *sketched) bool {
			return r.rec.Attempt > 0 && now.After(r.rec.Deadline)
		})
	case s.has("exclusive counts a cancelled request after its grace"):
		for _, r := range s.requests {
			if r.key.store == c.Store && r.rec.CancelledAs != "" {
				live = append(live, r)
			}
		}
	}
	if c.Exclusive && len(live) > 0 {
		return &backends.BusyError{ID: live[0].rec.ID}
	}
	if full {
		return backends.ErrFull
	}
	return nil
}

func (s *sketch) Get(ctx context.Context, store, id string) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	now := s.begin("Get")
	defer s.mu.Unlock()
	r := s.find(store, id, now)
	if r == nil {
		return backends.Record{}, backends.ErrNotFound
	}
	if s.has("Get reads the clock after its snapshot of the record") {
		snapshot := *r
		s.mu.Unlock()
		moment()
		s.mu.Lock()
		return s.at(&snapshot, clock()), nil
	}
	return s.at(r, now), nil
}

func (s *sketch) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now := s.begin("HasPending")
	defer s.mu.Unlock()
	pending := s.in(store, mailbox, now, backends.StatusPending)
	if s.has("HasPending does not see an expired lease") {
		pending = slices.DeleteFunc(pending, func(r *sketched) bool { return r.rec.Attempt > 0 })
	}
	return len(pending) > 0, nil
}

func (s *sketch) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := s.begin("Claim")
	defer s.mu.Unlock()
	memo := s.claims[c.ID]
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

// take claims what one store has.
func (s *sketch) take(memo *sketchedClaim, mailbox string, from backends.From, now time.Time) {
	pending := s.in(from.Store, mailbox, now, backends.StatusPending)
	if s.has("Claim passes over what has had MaxAttempts of the claimer") {
		pending = slices.DeleteFunc(pending, func(r *sketched) bool {
			return r.rec.Attempt >= from.MaxAttempts
		})
	}
	s.gap("a claim is not atomic")
	for _, r := range pending[:min(len(pending), from.Limit)] {
		r.rec.Status = backends.StatusRunning
		r.rec.Attempt++
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

// results returns what still runs of what a claim took.
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
			!s.has("a repeated claim returns what another claim has")
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
		if !s.has("an expired lease wakes nobody, and nobody polls") {
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
	stale := r.rec.Attempt != x.Attempt && !(x.Release && s.has("anyone may release"))
	if r.rec.Status != backends.StatusRunning || stale || expired {
		if s.has("progress is stored though it is refused") && x.Codec != "" {
			r.rec.Codec, r.rec.Payload = x.Codec, bytes.Clone(x.Payload)
		}
		return backends.Lease{}, backends.ErrStaleClaim
	}
	s.extend(r, x, now)
	return backends.Lease{UpdatedAt: now, Deadline: r.rec.Deadline,
		CancelledAs: r.rec.CancelledAs, CancelReason: r.rec.CancelReason}, nil
}

func (s *sketch) extend(r *sketched, x backends.Extend, now time.Time) {
	r.rec.UpdatedAt = now
	store := x.Codec != ""
	if s.has("a payload without a codec is stored") && x.Payload != nil ||
		s.has("an extension without progress loses the payload") {
		store = true
	}
	if s.has("a release stores no progress") && x.Release {
		store = false
	}
	if store {
		r.rec.Codec, r.rec.Payload = x.Codec, s.keep("Extend", x.Payload)
		if s.has("progress loses the headers") {
			r.rec.Headers = nil
		}
	}
	if store && !s.has("progress wakes nobody") || x.Release && !s.has("a release wakes nobody") {
		s.changed.Wake(x.ID)
	}
	if r.rec.CancelledAs != "" && !s.has("an Extend moves a grace deadline") &&
		(!x.Release || !s.has("a release hands back what is to be cancelled")) {
		return
	}
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

func (s *sketch) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	now := s.begin("Cancel")
	defer s.mu.Unlock()
	r, err := s.live(c.Store, c.ID, now)
	if err != nil {
		return backends.Record{}, err
	}
	before := s.head("Cancel", r, now)
	running := before.Status == backends.StatusRunning
	if s.has("a grace is left to an expired lease") {
		running = r.rec.Status == backends.StatusRunning
	}
	switch {
	case s.has("a noted cancel cannot be overruled") && r.rec.CancelledAs != "":
	case !running || c.Grace == 0:
		s.gap("a cancel is not atomic")
		s.finish(r, c.Outcome, c.Error, c.Retention, now)
	case r.rec.CancelledAs == "":
		s.note(r, c, now)
	case s.has("a second cancel changes the reason"):
		r.rec.CancelReason = c.Error
	case s.has("a second cancel changes the outcome"):
		r.rec.CancelledAs = c.Outcome
	case s.has("a second cancel moves the deadline"):
		s.note(r, c, now)
	case s.has("a second cancel is an update"):
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
	r.rec.CancelledAs, r.rec.CancelReason = c.Outcome, s.text("a cancel reason", c.Error)
	if s.has("every cancel that was noted reads as cancelled") {
		r.rec.CancelledAs = backends.StatusCancelled
	}
	if !s.has("a noted cancel is no update") {
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
	if !s.has("a noted cancel wakes nobody") {
		s.changed.Wake(c.ID)
	}
}

func (s *sketch) End(ctx context.Context, e backends.End) (backends.Record, error) {
	if err := ctx.Err(); err != nil {
		return backends.Record{}, err
	}
	now := s.begin("End")
	defer s.mu.Unlock()
	r, err := s.live(e.Store, e.ID, now)
	if err != nil {
		return backends.Record{}, err
	}
	lost := s.has("an expired lease cannot be ended") && r.rec.Attempt > 0 &&
		now.After(r.rec.Deadline)
	unclaimed := s.has("an unclaimed request cannot be ended") && r.rec.Attempt == 0
	stale := r.rec.Attempt != e.Attempt && !s.has("any attempt may end a request")
	if stale || lost || unclaimed {
		return backends.Record{}, backends.ErrStaleClaim
	}
	s.gap("an end is not atomic")
	r.rec.Codec, r.rec.Payload = e.Codec, s.keep("End", e.Payload)
	s.finish(r, e.Outcome, e.Error, e.Retention, now)
	return s.head("End", r, now), nil
}

// finish ends a request.
func (s *sketch) finish(
	r *sketched, outcome, reason string, retention time.Duration, now time.Time,
) {
	r.rec.Status, r.rec.Error = outcome, s.text("an error", reason)
	if !s.has("an end is no update") {
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
	if s.has("an ended record goes at once") {
		r.goes = now
	}
	if !s.has("an end wakes nobody") {
		s.changed.Wake(r.rec.ID)
	}
}

func (s *sketch) WatchMailbox(_ context.Context, mailbox string) (<-chan struct{}, func()) {
	if s.has("a watched mailbox is deaf") {
		return nil, func() {}
	}
	return s.claimable.Watch(mailbox)
}

func (s *sketch) WatchRequest(_ context.Context, id string) (<-chan struct{}, func()) {
	if s.has("a watched request is deaf") {
		return nil, func() {}
	}
	return s.changed.Watch(id)
}

func (s *sketch) PollInterval() time.Duration { return 0 }

// List and Mailboxes make the sketch a [backends.Lister], in the order of ids and names.
func (s *sketch) List(_ context.Context, store, mailbox, after string, limit int) (
	page backends.Page, err error) {
	now := s.begin("List")
	defer s.mu.Unlock()
	for _, id := range s.ids(func(r *sketched) bool {
		rec := r.rec.At(now)
		return r.key.store == store && r.key.id > after &&
			(rec.Mailbox == mailbox || s.has("a list has other mailboxes")) &&
			(!rec.Ended() || s.has("a list has what has ended")) &&
			(rec.Status != backends.StatusRunning || !s.has("a list misses what runs"))
	}) {
		if len(page.Records) == limit && !s.has("a page has no limit") {
			page.Next = page.Records[limit-1].ID
			break
		}
		page.Records = append(page.Records, s.at(s.requests[requestKey{store, id}], now))
	}
	if s.has("a list has only one page") {
		page.Next = ""
	}
	return page, nil
}

func (s *sketch) Mailboxes(_ context.Context, store, after string, limit int) (
	page backends.MailboxPage, err error) {
	now := s.begin("Mailboxes")
	defer s.mu.Unlock()
	names := map[string]bool{}
	s.ids(func(r *sketched) bool {
		if r.key.store == store && r.rec.Mailbox > after && !r.rec.At(now).Ended() {
			names[r.rec.Mailbox] = true
		}
		return false
	})
	page.Mailboxes = slices.Sorted(maps.Keys(names))
	if len(page.Mailboxes) > limit {
		page.Mailboxes = page.Mailboxes[:limit]
		page.Next = page.Mailboxes[limit-1]
	}
	if s.has("a list of mailboxes has only one page") {
		page.Next = ""
	}
	return page, nil
}

// ids are the ids of the requests that are wanted, in their order.
func (s *sketch) ids(wanted func(*sketched) bool) (ids []string) {
	for key, r := range s.requests {
		if wanted(r) {
			ids = append(ids, key.id)
		}
	}
	slices.Sort(ids)
	return ids
}

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

// sketch is a Backend in its simplest form: one lock, no index, no storage. It is correct, except
// for the fault that it was made with. The names of the faults are at the places where they act.
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
	goes time.Time       // when the record disappears
}

// sketchedClaim is the memo of a claim.
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

// moment waits, so that a fault shows.
func moment() { calls.Pass(300 * time.Microsecond) }

// begin locks the sketch and reads the clock. The caller unlocks.
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

// gap is between a check and its action. With the fault it unlocks the sketch for a moment.
func (s *sketch) gap(fault string) {
	if s.has(fault) {
		s.mu.Unlock()
		moment()
		s.mu.Lock()
	}
}

func (s *sketch) find(store, id string, now time.Time) *sketched {
	r := s.requests[requestKey{store, id}]
	if r != nil && now.After(r.goes) && !s.has("a record never disappears") {
		return nil
	}
	return r
}

// at is the record for a caller.
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
	case s.has("ReadAt of an ended record is now"):
		rec.ReadAt = now
	case s.has("times are local"):
		rec.CreatedAt = rec.CreatedAt.In(time.FixedZone("CET", 3600))
	case s.has("times have nanoseconds"):
		rec.CreatedAt = rec.CreatedAt.Add(time.Nanosecond)
	}
	return rec
}

// head is the record that End and Cancel return, without its payload.
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

// keep is a copy of a payload, for storing.
func (s *sketch) keep(operation string, payload []byte) []byte {
	if s.has(operation + " keeps the caller's payload") {
		return payload
	}
	return bytes.Clone(payload)
}

// text is an error text, for storing.
func (s *sketch) text(kind, text string) string {
	if s.has(kind + " ends at a NUL") {
		text, _, _ = strings.Cut(text, "\x00")
	}
	return text
}

// live returns the request, or an error if it has ended.
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

// in returns the requests of a mailbox with these statuses, the longest claimable first.
func (s *sketch) in(store, mailbox string, now time.Time, statuses ...string) []*sketched {
	var found []*sketched
	for _, r := range s.requests {
		if r.key.store == store && s.sameMailbox(r.rec.Mailbox, mailbox) &&
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
	s.terms(&c.Terms)
	c.Codec = s.cut("a codec", c.Codec)
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

// admits returns the reason to refuse a new request, or nil.
func (s *sketch) admits(c backends.Create, now time.Time) error {
	pending := s.in(c.Store, c.Mailbox, now, backends.StatusPending)
	running := s.in(c.Store, c.Mailbox, now, backends.StatusRunning)
	full := c.MaxPending > 0 && len(pending) >= c.MaxPending
	if s.has("a full mailbox counts running requests") && c.MaxPending > 0 {
		full = len(pending)+len(running) >= c.MaxPending
	}
	if s.has("full comes before busy") && full {
		return backends.ErrFull
	}
	live := slices.Concat(pending, running)
	switch {
	case s.has("exclusive does not count running requests"):
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
	r := s.find(s.cut("a store", store), id, now)
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
	pending := s.in(s.cut("a store", store), mailbox, now, backends.StatusPending)
	if s.has("HasPending does not see an expired lease") {
		pending = slices.DeleteFunc(pending, func(r *sketched) bool { return r.rec.Attempt > 0 })
	}
	return len(pending) > 0, nil
}

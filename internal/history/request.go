package history

import (
	"errors"
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// request has the steps of one request, and the facts that its records have shown.
type request struct {
	id    string
	terms backends.Terms
	steps []porcupine.Operation

	creates []*calls.Call
	ends    []*calls.Call // Ends and Cancels
	changes []*calls.Call // Extends, and Cancels with a grace
	unsure  []*calls.Call // changes that may have taken effect at an unknown time

	effects   map[effect]bool // true: the reply to the call that had the effect has arrived
	createdAt int64           // 0 if no record was seen
	claims    map[int]int64   // the start of each attempt; 0 if it is unknown
	attempts  int             // the highest attempt of any record
	shown     map[lease]bool  // the leases in all replies
	final     backends.Record // the latest record
	gone      bool            // the last read did not find the request
}

// lease is a lease as a reply shows it.
type lease struct {
	attempt        int
	at             int64 // when it was set; 0 if the reply does not show this
	deadline, last int64
	noted          bool // a cancel was noted
}

// history sorts the calls of a session by request.
type history struct {
	requests map[string]*request
	calls    []*calls.Call
	faulty   []string // the mistakes found so far
	fails    []FailOver
	losses   Losses
}

// New makes the history of calls, and of the fail-overs that happened meanwhile.
func New(all []*calls.Call, fails ...FailOver) *history {
	h := gather(all)
	h.fails = fails
	for _, r := range h.requests {
		h.fillIn(r)
	}
	for _, f := range fails {
		h.failOver(f)
	}
	if len(fails) == 0 { // a fail-over may lose memos
		h.checkMemos()
	}
	return h
}

// gather sorts calls by request.
func gather(all []*calls.Call) *history {
	h := &history{requests: map[string]*request{}, calls: all, losses: Losses{}}
	for _, c := range all {
		if c.Err != nil && strings.Contains(c.Err.Error(), "user_script") {
			h.fault("%T: a script failed: %v", c.Op, c.Err)
		}
		switch op := c.Op.(type) {
		case backends.Create:
			h.create(c, op)
		case calls.Get:
			h.read(h.request(op.Terms, op.ID), c, c.Rec, c.Err)
		case backends.Claim:
			h.claim(c, op)
		case backends.Extend:
			h.extend(c, op)
		case backends.Cancel:
			h.cancel(c, op)
		case backends.End:
			h.end(c, op)
		}
	}
	return h
}

func (h *history) fault(format string, args ...any) {
	h.faulty = append(h.faulty, fmt.Sprintf(format, args...))
}

func (h *history) request(terms backends.Terms, id string) *request {
	r := h.requests[id]
	if r == nil {
		r = &request{id: id, terms: terms, effects: map[effect]bool{}, claims: map[int]int64{},
			shown: map[lease]bool{}}
		h.requests[id] = r
	}
	return r
}

func (r *request) add(c *calls.Call, s step) {
	r.addBetween(c.Began, c.Was, s)
}

func (r *request) addBetween(began, was int64, s step) {
	s.id, s.terms, s.from, s.by = r.id, r.terms, began, was
	r.steps = append(r.steps, porcupine.Operation{Input: s, Call: began, Return: was})
}

// addPerhaps adds a step that may or may not have happened.
func (r *request) addPerhaps(began, latest int64, s step) {
	s.id, s.terms, s.from, s.by, s.may = r.id, r.terms, began, latest, true
	r.steps = append(r.steps, porcupine.Operation{Input: s, Call: began, Return: calls.Never})
}

// saw keeps the facts that a record shows about the past of its request.
func (r *request) saw(rec backends.Record) {
	r.gone = false
	r.createdAt = calls.Micros(rec.CreatedAt)
	r.happened(effect{kind: created, at: r.createdAt})
	r.attempts = max(r.attempts, rec.Attempt)
	if rec.Attempt > 0 {
		r.claims[rec.Attempt] = calls.Micros(rec.StartedAt)
		r.happened(effect{kind: claimed, attempt: rec.Attempt, at: calls.Micros(rec.StartedAt)})
		r.sawLease(rec)
	}
	for attempt := 1; attempt < rec.Attempt; attempt++ {
		r.claims[attempt] += 0 // this attempt has happened, even if no record shows it
	}
	if rec.Ended() && !perhapsDerived(rec) {
		r.happened(effect{kind: ended, text: calls.Wording(rec.Status, rec.Error),
			at: calls.Micros(rec.UpdatedAt)})
	}
	if !rec.ReadAt.Before(r.final.ReadAt) {
		r.final = rec
	}
}

// perhapsDerived reports whether a request may have ended by itself: at its last deadline, by a
// timeout or by a cancel that was noted. A worker may answer in the same microsecond.
func perhapsDerived(rec backends.Record) bool {
	return rec.UpdatedAt.Equal(rec.LastDeadline) &&
		(rec.Status == backends.StatusTimeout || rec.Status == backends.StatusCancelled)
}

func (r *request) sawLease(rec backends.Record) {
	l := lease{attempt: rec.Attempt, deadline: calls.Micros(rec.Deadline),
		last: calls.Micros(rec.LastDeadline)}
	if rec.Status == backends.StatusRunning {
		l.at, l.noted = calls.Micros(rec.UpdatedAt), rec.CancelledAs != ""
	}
	r.shown[l] = true
}

// happened notes an effect. Its reply may not have arrived.
func (r *request) happened(e effect) {
	if _, known := r.effects[e]; !known {
		r.effects[e] = false
	}
}

// tell notes that a caller got the reply to the call that had the effect.
func (h *history) tell(r *request, e effect) {
	if r.effects[e] {
		h.fault("two callers got a reply that their call had one effect on %s: %s %+v",
			r.id, kindNames[e.kind], e)
	}
	r.effects[e] = true
}

// toldBefore reports whether a call is a repeat, and the reply to the first call has reported the
// effect. Within one microsecond, both replies look as if their call had the effect.
func (r *request) toldBefore(c *calls.Call, e effect) bool { return c.Repeat && r.effects[e] }

// read adds a step for a reply that shows the request's state and changes nothing. It returns false
// if the reply is another one.
func (h *history) read(r *request, c *calls.Call, rec backends.Record, err error) bool {
	var ended *backends.EndedError
	switch {
	case errors.As(err, &ended):
		rec = ended.Record
	case errors.Is(err, backends.ErrNotFound):
		r.gone = true
		r.add(c, step{kind: missing})
		return true
	case err != nil:
		return false
	}
	if rec.ID != r.id {
		h.fault("asked for %s, got %s", r.id, rec.ID)
	}
	r.saw(rec)
	_, cancels := c.Op.(backends.Cancel)
	r.add(c, step{kind: read, rec: rec, bare: cancels && err == nil})
	return true
}

func (h *history) create(c *calls.Call, op backends.Create) {
	r := h.request(op.Terms, op.ID)
	r.creates = append(r.creates, c)
	made := effect{kind: created, at: calls.Micros(c.Rec.CreatedAt)}
	var busy *backends.BusyError
	switch {
	case errors.As(c.Err, &busy):
		h.request(op.Terms, busy.ID).add(c, step{kind: seenAlive})
		r.add(c, step{kind: refused})
	case errors.Is(c.Err, backends.ErrFull):
		r.add(c, step{kind: refused})
	case c.Err != nil:
	case c.Rec.ReadAt.Equal(c.Rec.CreatedAt) && !r.toldBefore(c, made):
		r.saw(c.Rec)
		h.tell(r, made)
		r.add(c, step{kind: created, op: op, rec: c.Rec, at: made.at})
	default:
		h.read(r, c, c.Rec, nil)
	}
}

func (h *history) claim(c *calls.Call, op backends.Claim) {
	for i, from := range c.Claimed {
		for _, err := range from.Errs {
			h.fault("a claim skipped an unreadable request: %v", err)
		}
		for _, rec := range from.Records {
			r := h.request(op.From[i].Terms, rec.ID)
			if rec.Status != backends.StatusRunning || rec.Mailbox != op.Mailbox {
				h.fault("a claim for mailbox %q returned %s of mailbox %q as %s",
					op.Mailbox, rec.ID, rec.Mailbox, rec.Status)
			}
			started := calls.Micros(rec.StartedAt)
			taken := effect{kind: claimed, attempt: rec.Attempt, at: started}
			// An earlier try of this claim may have claimed the request.
			if !rec.StartedAt.Equal(rec.ReadAt) || r.toldBefore(c, taken) {
				h.read(r, c, rec, nil)
				continue
			}
			r.saw(rec)
			h.tell(r, taken)
			r.add(c, step{kind: claimed, attempt: rec.Attempt, at: started, rec: rec})
		}
	}
}

func (h *history) extend(c *calls.Call, op backends.Extend) {
	r := h.request(op.Terms, op.ID)
	switch {
	case c.Err == nil:
		l := lease{attempt: op.Attempt, at: calls.Micros(c.Lease.UpdatedAt),
			deadline: calls.Micros(c.Lease.Deadline), noted: c.Lease.CancelledAs != ""}
		if l.last = l.deadline; !l.noted {
			l.last += waitsAfter(op)
		}
		r.shown[l] = true
		r.add(c, step{kind: extended, op: op, lease: c.Lease, at: l.at})
	case errors.Is(c.Err, backends.ErrStaleClaim):
		r.add(c, step{kind: notExtend, op: op})
	default:
		h.read(r, c, c.Rec, c.Err)
	}
	r.change(c, c.Lossy)
}

// waitsAfter returns how long a request may wait for a claim after the lease that an Extend sets.
func waitsAfter(e backends.Extend) int64 {
	if e.Attempt < e.MaxAttempts {
		return e.PendingTimeout.Microseconds()
	}
	return 0
}

// change keeps an Extend, or a Cancel with a grace, that may have taken effect.
func (r *request) change(c *calls.Call, unsure bool) {
	if c.Err == nil || c.Lossy {
		r.changes = append(r.changes, c)
	}
	if unsure {
		r.unsure = append(r.unsure, c)
	}
}

func (h *history) cancel(c *calls.Call, op backends.Cancel) {
	r := h.request(op.Terms, op.ID)
	told := step{kind: noted, op: op, rec: c.Rec, bare: true, at: calls.Micros(c.Rec.UpdatedAt)}
	switch {
	case c.Err == nil && c.Rec.Ended():
		told.kind = ended
		h.tell(r, effect{kind: ended, text: c.Says(), at: told.at})
		r.saw(c.Rec)
		r.add(c, told)
	case c.Err == nil && !c.Lossy && !c.Repeat && c.Rec.CancelReason == op.Error:
		r.saw(c.Rec)
		r.add(c, told)
	default:
		h.read(r, c, c.Rec, c.Err)
	}
	if c.Err == nil && !c.Rec.Ended() && (op.Grace == 0 || c.Rec.CancelledAs == "") {
		h.fault("a cancel of %s was not noted and did not end the request: %+v", r.id, c.Rec)
	}
	r.ends = append(r.ends, c)
	if op.Grace != 0 {
		r.change(c, c.Lossy || c.Repeat && c.Err == nil)
	}
}

func (h *history) end(c *calls.Call, op backends.End) {
	r := h.request(op.Terms, op.ID)
	switch at := calls.Micros(c.Rec.UpdatedAt); {
	case c.Err == nil:
		h.tell(r, effect{kind: ended, text: c.Says(), at: at})
		r.saw(c.Rec)
		r.add(c, step{kind: ended, op: op, rec: c.Rec, bare: true, at: at})
	case errors.Is(c.Err, backends.ErrStaleClaim):
		r.add(c, step{kind: notEnded, op: op})
	default:
		h.read(r, c, c.Rec, c.Err)
	}
	r.ends = append(r.ends, c)
}

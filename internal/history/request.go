package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// request is what the calls of a session did to one request: the steps, and what its records have
// shown.
type request struct {
	id    string
	terms backends.Terms
	steps []porcupine.Operation

	creates []*calls.Call
	ends    []*calls.Call // Ends and Cancels
	changes []*calls.Call // Extends, and Cancels with a grace
	unsure  []*calls.Call // of these: may have happened when nobody was told
	// What is known to have happened, and whether the caller who did it was told.
	effects   map[effect]bool
	createdAt int64          // 0 while no record was seen
	claims    map[int]int64  // when each attempt started; 0 where nobody was told
	attempts  int            // the most that a record has shown
	shown     map[lease]bool // what was shown of its claims
	final     backends.Record
	gone      bool // the last that asked for it did not find it
}

// lease is what was shown of a claim at some time.
type lease struct {
	attempt        int
	at             int64 // when it became so; 0 if that was not shown
	deadline, last int64
	noted          bool // with a cancel
}

// history sorts the calls of a session by request.
type history struct {
	requests map[string]*request
	calls    []*calls.Call
	faulty   []string // what was wrong already before any model is asked
	fails    []FailOver
	losses   Losses
}

// newHistory makes the history of calls and of the fail-overs that they went through.
func New(all []*calls.Call, fails ...FailOver) *history {
	h := gather(all)
	h.fails = fails
	for _, r := range h.requests {
		h.fillIn(r)
	}
	for _, f := range fails {
		h.failOver(f)
	}
	return h
}

// gather sorts calls.
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

// addPerhaps adds a step that may have happened, or not.
func (r *request) addPerhaps(began, latest int64, s step) {
	s.id, s.terms, s.from, s.by, s.may = r.id, r.terms, began, latest, true
	r.steps = append(r.steps, porcupine.Operation{Input: s, Call: began, Return: calls.Never})
}

// saw keeps what a record tells about the past of its request.
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
		r.claims[attempt] += 0 // it has been, even if nobody saw it
	}
	if rec.Ended() && rec.UpdatedAt.Before(rec.LastDeadline) { // otherwise nobody ended it
		r.happened(effect{kind: ended, text: calls.Wording(rec.Status, rec.Error),
			at: calls.Micros(rec.UpdatedAt)})
	}
	if !rec.ReadAt.Before(r.final.ReadAt) {
		r.final = rec
	}
}

func (r *request) sawLease(rec backends.Record) {
	l := lease{attempt: rec.Attempt, deadline: calls.Micros(rec.Deadline),
		last: calls.Micros(rec.LastDeadline)}
	if rec.Status == backends.StatusRunning {
		l.at, l.noted = calls.Micros(rec.UpdatedAt), rec.CancelledAs != ""
	}
	r.shown[l] = true
}

// happened notes an effect, of which nobody may have been told yet.
func (r *request) happened(e effect) {
	if _, known := r.effects[e]; !known {
		r.effects[e] = false
	}
}

// tell notes that the caller was told what the call did.
func (h *history) tell(r *request, e effect) {
	if r.effects[e] {
		h.fault("two callers were told of %s that they did this: %v %+v", r.id, e.kind, e)
	}
	r.effects[e] = true
}

// toldBefore reports whether a call repeats one whose caller was told of the effect already. Within
// a microsecond both answers read as if their call had the effect.
func (r *request) toldBefore(c *calls.Call, e effect) bool { return c.Repeat && r.effects[e] }

// read adds an answer that tells a request's state and changes nothing. It reports whether it was
// one.
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
			h.fault("a claim passed over: %v", err)
		}
		for _, rec := range from.Records {
			r := h.request(op.From[i].Terms, rec.ID)
			if rec.Status != backends.StatusRunning || rec.Mailbox != op.Mailbox {
				h.fault("a claim of %q gave %s in %q as %s", op.Mailbox, rec.ID, rec.Mailbox, rec.Status)
			}
			taken := effect{kind: claimed, attempt: rec.Attempt, at: calls.Micros(rec.StartedAt)}
			// Another sending of this claim may have taken it before.
			if !rec.StartedAt.Equal(rec.ReadAt) || r.toldBefore(c, taken) {
				h.read(r, c, rec, nil)
				continue
			}
			r.saw(rec)
			h.tell(r, taken)
			r.add(c, step{kind: claimed, attempt: rec.Attempt, at: calls.Micros(rec.StartedAt), rec: rec})
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

// waitsAfter returns how long a request waits after the lease that an Extend gives it.
func waitsAfter(e backends.Extend) int64 {
	if e.Attempt < e.MaxAttempts {
		return e.PendingTimeout.Microseconds()
	}
	return 0
}

// change keeps an Extend or a Cancel with a grace that may have had an effect.
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
		h.fault("a cancel of %s was neither noted nor an end: %+v", r.id, c.Rec)
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

// fillIn adds the steps of which no caller was told that they had happened, but that a record has
// shown.
func (h *history) fillIn(r *request) {
	for e, told := range r.effects {
		switch {
		case told:
		case e.kind == created:
			h.fillInCreate(r, e.at)
		case e.kind == claimed:
			h.fillInClaim(r, e.attempt, e.at)
		case e.kind == ended:
			h.fillInEnd(r, e)
		}
	}
	for attempt, at := range r.claims {
		if at == 0 {
			h.fillInClaim(r, attempt, 0)
		}
	}
	for _, c := range r.unsure {
		r.fillInChange(c)
	}
}

// fillInChange adds the times at which a call may have changed a lease: those that a record shows,
// and any that none does.
func (r *request) fillInChange(c *calls.Call) {
	kind := extended
	if _, cancels := c.Op.(backends.Cancel); cancels {
		kind = noted
	}
	for at := range r.timesOf(c, kind) {
		r.addPerhaps(c.Began, c.Latest(), step{kind: kind, op: c.Op, at: at})
	}
	r.addPerhaps(c.Began, c.Latest(), step{kind: kind, op: c.Op})
}

// timesOf returns when a call may have changed a lease, by what was shown of the lease later. What
// another call of this kind is known to have done at that time, this call has not done.
func (r *request) timesOf(c *calls.Call, kind kind) map[int64]bool {
	times := map[int64]bool{}
	for l := range r.shown {
		for _, at := range l.mayBeOf(c.Op) {
			if at >= c.Began && at <= c.Latest() {
				times[at] = true
			}
		}
	}
	for _, o := range r.steps {
		if s := o.Input.(step); !s.may && s.kind == kind {
			delete(times, s.at)
		}
	}
	return times
}

// mayBeOf returns when a lease may have become what it is by an Extend or a Cancel, or by that and
// a later note.
func (l lease) mayBeOf(op any) []int64 {
	switch op := op.(type) {
	case backends.Cancel:
		if l.at == 0 || l.noted {
			return []int64{l.at, l.deadline - op.Grace.Microseconds()}
		}
	case backends.Extend:
		lasts := op.RunningTimeout.Microseconds()
		if op.Release {
			lasts = op.After.Microseconds() - 1
		}
		switch {
		case l.attempt != op.Attempt || l.at != 0 && !l.noted && l.at != l.deadline-lasts:
			return nil
		case l.at != 0:
			return []int64{l.at, l.deadline - lasts}
		}
		return []int64{l.deadline - lasts, l.last - lasts - waitsAfter(op)}
	}
	return nil
}

// fillInEnd finds the calls, all the same, of which one must have ended the request.
func (h *history) fillInEnd(r *request, e effect) {
	op, began, was := any(nil), int64(calls.Never), int64(0)
	for _, c := range r.ends {
		if c.Lossy && c.Says() == e.text {
			op, began, was = c.Op, min(began, c.Began), max(was, c.Latest())
		}
	}
	if op == nil {
		h.fault("%s ended at %d with %q, which nobody said, or was refused", r.id, e.at, e.text)
		return
	}
	r.addBetween(began, was, step{kind: ended, op: op, at: e.at})
}

func (h *history) fillInCreate(r *request, createdAt int64) {
	for _, c := range r.creates {
		if c.Lossy && c.Began <= createdAt && createdAt <= c.Latest() {
			r.addBetween(c.Began, c.Latest(), step{kind: created, op: c.Op, at: createdAt})
			return
		}
	}
	h.fault("%s was created at %d, when nobody created it", r.id, createdAt)
}

// newlyCreated is the record of a new request as it is read later.
func newlyCreated(c backends.Create, createdAt, readAt int64) backends.Record {
	at := time.UnixMicro(createdAt).UTC()
	deadline := at.Add(c.PendingTimeout)
	return backends.Record{ID: c.ID, Mailbox: c.Mailbox, Status: backends.StatusPending,
		Codec: c.Codec, Payload: c.Payload,
		CreatedAt: at, UpdatedAt: at, Deadline: deadline, LastDeadline: deadline,
		ReadAt: time.UnixMicro(readAt).UTC()}
}

// fillInClaim finds the claim of which nobody knows whether it happened and that must have started
// the attempt.
func (h *history) fillInClaim(r *request, attempt int, at int64) {
	began, was := h.lostClaims(r, at)
	if began > was {
		h.fault("attempt %d of %s started at %d and was given to nobody", attempt, r.id, at)
		return
	}
	r.addBetween(began, was, step{kind: claimed, attempt: attempt, at: at})
}

// lostClaims returns when claims were under way of which nobody knows whether they happened. If at
// is not 0, they were under way then.
func (h *history) lostClaims(r *request, at int64) (began, was int64) {
	began = calls.Never
	for _, c := range h.calls {
		op, isClaim := c.Op.(backends.Claim)
		if !isClaim || !c.Lossy || at != 0 && (at < c.Began || at > c.Latest()) ||
			!slices.ContainsFunc(op.From, func(f backends.From) bool { return f.Store == r.terms.Store }) {
			continue
		}
		began, was = min(began, c.Began), max(was, c.Latest())
	}
	return began, was
}

// Check returns the first thing that was wrong, after asking the model about every request.
func (h *history) Check() error {
	if len(h.faulty) > 0 {
		return fmt.Errorf("%s\n(and %d more)", h.faulty[0], len(h.faulty)-1)
	}
	model := requestModel
	if len(h.fails) > 0 {
		model = failOverModel
	}
	for _, r := range h.requests {
		if got := porcupine.CheckOperationsTimeout(model, r.steps, 10*time.Second); got != porcupine.Ok {
			return fmt.Errorf("%s of %s: %s: no order explains\n%s", r.id, r.terms.Store, got, r.describe())
		}
	}
	return nil
}

// describe writes out what happened, in the order in which it began.
func (r *request) describe() string {
	steps := slices.Clone(r.steps)
	slices.SortFunc(steps, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	start := steps[0].Call
	since := func(us int64) int64 { return max(us-start, -1) }
	for _, o := range steps {
		s := o.Input.(step)
		fmt.Fprintf(&text, "  %6d to %6d: %v attempt %d at %d", since(o.Call), since(o.Return), s,
			s.attempt, since(s.at))
		switch op := s.op.(type) {
		case backends.Extend:
			fmt.Fprintf(&text, " of %d, release %v after %v, %.20q, until %d", op.Attempt, op.Release,
				op.After, op.Payload, since(calls.Micros(s.lease.Deadline)))
		case backends.Cancel:
			fmt.Fprintf(&text, " as %s %q, grace %v", op.Outcome, op.Error, op.Grace)
		case backends.End:
			fmt.Fprintf(&text, " of %d as %s %q", op.Attempt, op.Outcome, op.Error)
		}
		if rec := s.rec; rec.ID != "" {
			fmt.Fprintf(&text, ": %s attempt %d %q %.20q noted %q", rec.Status, rec.Attempt, rec.Error,
				rec.Payload, rec.CancelReason)
			fmt.Fprintf(&text, " read %d created %d updated %d started %d deadline %d last %d",
				since(calls.Micros(rec.ReadAt)), since(calls.Micros(rec.CreatedAt)),
				since(calls.Micros(rec.UpdatedAt)),
				since(calls.Micros(rec.StartedAt)), since(calls.Micros(rec.Deadline)),
				since(calls.Micros(rec.LastDeadline)))
		}
		text.WriteByte('\n')
	}
	return text.String()
}

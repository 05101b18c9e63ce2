package proof_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
)

// request is what the calls of a session did to one request: the steps, and what its records have
// shown.
type request struct {
	id    string
	terms backends.Terms
	steps []porcupine.Operation

	creates   []*call
	question  string          // as it was created
	effects   map[effect]bool // what is known to have happened, and whether the caller who did it was told
	createdAt int64           // 0 while no record was seen
	claims    map[int]int64   // when each attempt started; 0 where nobody was told
	ends      []*call
	extends   map[int]bool // attempts that were, or may have been, extended
	final     backends.Record
	gone      bool // the last that asked for it did not find it
}

// history sorts the calls of a session by request.
type history struct {
	requests map[string]*request
	calls    []*call
	faulty   []string // what was wrong already before any model is asked
	fails    []failOver
	losses   losses
}

// newHistory makes the history of calls and of the fail-overs that they went through.
func newHistory(calls []*call, fails ...failOver) *history {
	h := gather(calls)
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
func gather(calls []*call) *history {
	h := &history{requests: map[string]*request{}, calls: calls, losses: losses{}}
	for _, c := range calls {
		switch op := c.op.(type) {
		case backends.Create:
			h.create(c, op)
		case get:
			h.read(h.request(op.Terms, op.id), c, c.rec, c.err)
		case backends.Claim:
			h.claim(c, op)
		case backends.Extend:
			h.extend(c, op)
		case backends.End:
			h.end(c, op, false)
		case backends.Cancel:
			h.end(c, asEnd(op), true)
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
		r = &request{id: id, terms: terms, effects: map[effect]bool{}, claims: map[int]int64{}, extends: map[int]bool{}}
		h.requests[id] = r
	}
	return r
}

func (r *request) add(c *call, s step) {
	r.addBetween(c.began, c.was, s)
}

func (r *request) addBetween(began, was int64, s step) {
	s.id, s.terms = r.id, r.terms
	r.steps = append(r.steps, porcupine.Operation{Input: s, Call: began, Return: was})
}

// saw keeps what a record tells about the past of its request.
func (r *request) saw(rec backends.Record) {
	r.gone = false
	r.createdAt = micros(rec.CreatedAt)
	r.happened(effect{kind: created, at: r.createdAt})
	if rec.Attempt > 0 {
		r.claims[rec.Attempt] = micros(rec.StartedAt)
		r.happened(effect{kind: claimed, attempt: rec.Attempt, at: micros(rec.StartedAt)})
	}
	for attempt := 1; attempt < rec.Attempt; attempt++ {
		r.claims[attempt] += 0 // it has been, even if nobody saw it
	}
	if rec.Ended() && !strings.HasPrefix(rec.Error, timedOut) {
		r.happened(effect{kind: ended, text: rec.Error, at: micros(rec.UpdatedAt)})
	}
	if !rec.ReadAt.Before(r.final.ReadAt) {
		r.final = rec
	}
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
func (r *request) toldBefore(c *call, e effect) bool { return c.repeat && r.effects[e] }

// read adds an answer that tells a request's state and changes nothing. It reports whether it was
// one.
func (h *history) read(r *request, c *call, rec backends.Record, err error) bool {
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
	r.add(c, step{kind: read, rec: rec})
	return true
}

func (h *history) create(c *call, op backends.Create) {
	r := h.request(op.Terms, op.ID)
	r.question = string(op.Payload)
	r.creates = append(r.creates, c)
	made := effect{kind: created, at: micros(c.rec.CreatedAt)}
	var busy *backends.BusyError
	switch {
	case errors.As(c.err, &busy):
		h.request(op.Terms, busy.ID).add(c, step{kind: seenAlive})
		r.add(c, step{kind: refused})
	case errors.Is(c.err, backends.ErrFull):
		r.add(c, step{kind: refused})
	case c.err != nil:
	case c.rec.ReadAt.Equal(c.rec.CreatedAt) && !r.toldBefore(c, made):
		r.saw(c.rec)
		h.tell(r, made)
		r.add(c, step{kind: created, rec: c.rec})
	default:
		h.read(r, c, c.rec, nil)
	}
}

func (h *history) claim(c *call, op backends.Claim) {
	for i, from := range c.claimed {
		for _, err := range from.Errs {
			h.fault("a claim passed over: %v", err)
		}
		for _, rec := range from.Records {
			r := h.request(op.From[i].Terms, rec.ID)
			if rec.Status != backends.StatusRunning || rec.Mailbox != op.Mailbox {
				h.fault("a claim of %q gave %s in %q as %s", op.Mailbox, rec.ID, rec.Mailbox, rec.Status)
			}
			taken := effect{kind: claimed, attempt: rec.Attempt, at: micros(rec.StartedAt)}
			// Another sending of this claim may have taken it before.
			if !rec.StartedAt.Equal(rec.ReadAt) || r.toldBefore(c, taken) {
				h.read(r, c, rec, nil)
				continue
			}
			r.saw(rec)
			h.tell(r, taken)
			r.add(c, step{kind: claimed, attempt: rec.Attempt, at: micros(rec.StartedAt), rec: rec})
		}
	}
}

func (h *history) extend(c *call, op backends.Extend) {
	r := h.request(op.Terms, op.ID)
	decided := true
	switch {
	case c.err == nil:
		r.add(c, step{kind: extended, attempt: op.Attempt, at: c.was, again: c.lossy})
		r.extends[op.Attempt] = true
	case errors.Is(c.err, backends.ErrStaleClaim):
		r.add(c, step{kind: notExtend, attempt: op.Attempt})
	default:
		decided = h.read(r, c, backends.Record{}, c.err)
	}
	if c.lossy || !decided {
		r.addBetween(c.began, never, step{kind: mayExtend, attempt: op.Attempt, at: c.latest(), again: true})
		r.extends[op.Attempt] = true
	}
}

// asEnd is what a Cancel says.
func asEnd(c backends.Cancel) backends.End {
	return backends.End{Terms: c.Terms, ID: c.ID, Outcome: c.Outcome, Error: c.Error}
}

func (h *history) end(c *call, op backends.End, cancel bool) {
	r := h.request(op.Terms, op.ID)
	switch at := micros(c.rec.UpdatedAt); {
	case c.err == nil:
		r.effects[effect{kind: ended, text: op.Error, at: at}] = true
		r.add(c, step{kind: ended, attempt: op.Attempt, end: op, cancel: cancel, at: at})
	case errors.Is(c.err, backends.ErrStaleClaim):
		r.add(c, step{kind: notEnded, attempt: op.Attempt})
	default:
		h.read(r, c, backends.Record{}, c.err)
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
}

func (h *history) fillInEnd(r *request, e effect) {
	for _, c := range r.ends {
		op, isEnd := c.op.(backends.End)
		if !isEnd {
			op = asEnd(c.op.(backends.Cancel))
		}
		if op.Error != e.text {
			continue
		}
		if !c.lossy {
			h.fault("%s ended with %q, though that call was refused: %v", r.id, op.Error, c.err)
		}
		r.addBetween(c.began, c.latest(), step{kind: ended, attempt: op.Attempt, end: op, cancel: !isEnd, at: e.at})
	}
}

func (h *history) fillInCreate(r *request, createdAt int64) {
	rec := newlyCreated(backends.Create{Terms: r.terms, ID: r.id, Payload: []byte(r.question)}, createdAt, createdAt)
	for _, c := range r.creates {
		if c.lossy && c.began <= createdAt && createdAt <= c.latest() {
			r.addBetween(c.began, c.latest(), step{kind: created, rec: rec})
			return
		}
	}
	h.fault("%s was created at %d, when nobody created it", r.id, createdAt)
}

// newlyCreated is the record of a new request as it is read later.
func newlyCreated(c backends.Create, createdAt, readAt int64) backends.Record {
	at := time.UnixMicro(createdAt).UTC()
	deadline := at.Add(c.PendingTimeout)
	return backends.Record{ID: c.ID, Mailbox: c.Mailbox, Status: backends.StatusPending, Codec: c.Codec, Payload: c.Payload,
		CreatedAt: at, UpdatedAt: at, Deadline: deadline, LastDeadline: deadline, ReadAt: time.UnixMicro(readAt).UTC()}
}

// fillInClaim finds the claim of which nobody knows whether it happened and that must have started
// the attempt.
func (h *history) fillInClaim(r *request, attempt int, at int64) {
	began, was := int64(never), int64(0)
	for _, c := range h.calls {
		op, isClaim := c.op.(backends.Claim)
		if !isClaim || !c.lossy || at != 0 && (at < c.began || at > c.latest()) ||
			!slices.ContainsFunc(op.From, func(f backends.From) bool { return f.Store == r.terms.Store }) {
			continue
		}
		began, was = min(began, c.began), max(was, c.latest())
	}
	if began > was {
		h.fault("attempt %d of %s started at %d and was given to nobody", attempt, r.id, at)
		return
	}
	r.addBetween(began, was, step{kind: claimed, attempt: attempt, at: at})
}

// check returns the first thing that was wrong, after asking the model about every request.
func (h *history) check() error {
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
		fmt.Fprintf(&text, "  %6d to %6d: %v attempt %d at %d", since(o.Call), since(o.Return), s.kind, s.attempt, since(s.at))
		if rec := s.rec; rec.ID != "" {
			fmt.Fprintf(&text, ": %s attempt %d %q %q read %d created %d updated %d started %d deadline %d last %d",
				rec.Status, rec.Attempt, rec.Error, rec.Payload, since(micros(rec.ReadAt)), since(micros(rec.CreatedAt)),
				since(micros(rec.UpdatedAt)), since(micros(rec.StartedAt)), since(micros(rec.Deadline)), since(micros(rec.LastDeadline)))
		}
		text.WriteByte('\n')
	}
	return text.String()
}

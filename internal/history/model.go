package history

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// What a single, never failing store would do with one request. Histories are checked against it
// request by request. It knows the rules of package backends and shares no code with any backend,
// nor with Record.At.

// step is one operation on one request: what was asked, and what was answered at which time of the
// server.
type step struct {
	kind  kind
	terms backends.Terms
	id    string

	op      any             // create, extend, note and end: the call's
	attempt int             // claim: the one that it gave
	rec     backends.Record // what was answered, if it was a record
	bare    bool            // rec is without its payload
	lease   backends.Lease  // extend: what was answered, if it was
	at      int64           // when the server did it, or 0; fail-over: all until then is safe
	from    int64           // the server did it no earlier
	by      int64           // and no later
	may     bool            // nobody knows whether it happened
}

type kind int

const (
	created    kind = iota // a Create was answered with rec
	refused                // a Create was refused: busy or full
	read                   // rec was answered, by whatever operation
	missing                // the request was not found
	claimed                // a Claim made it run at attempt
	extended               // an Extend succeeded
	notExtend              // an Extend was refused as stale
	noted                  // a Cancel with a grace was noted
	ended                  // an End succeeded, or a Cancel that ended it at once
	notEnded               // an End was refused as stale
	seenAlive              // another Create was refused because of this live request
	failedOver             // a master died, with what had happened after at, perhaps
)

var kindNames = [...]string{"create", "create refused", "read", "not found", "claim", "extend",
	"extend refused", "note of a cancel", "end", "end refused", "found busy", "fail-over"}

func (s step) String() string {
	if s.may {
		return "perhaps " + kindNames[s.kind]
	}
	return kindNames[s.kind]
}

// state is a request as it is stored. Times are microseconds since the epoch.
type state struct {
	exists                    bool
	status, text              string
	codec, payload, headers   string
	cancelledAs, cancelReason string
	attempt                   int
	created, started, updated int64
	deadline, last            int64
	now                       int64 // the server's clock is not behind this
	changed                   int64 // when it became so, at the latest

	// The time of a claim or an Extend that no record shows is not known. Then updated is the
	// earliest, deadline and last belong to it, and all three may be later by up to slack.
	slack int64
}

// requestModel is what porcupine checks the steps of one request against.
var requestModel = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, _ any) (bool, any) { return s.(state).apply(in.(step)) },
}

func (s state) apply(op step) (bool, state) {
	ok, next := s.does(op)
	if op.may && !ok {
		return true, s
	}
	return ok, next
}

// does reports whether the request may take the step, and returns what it is then.
func (s state) does(op step) (ok bool, next state) {
	if op.at != 0 && (op.at < op.from || op.at > op.by) {
		return false, s
	}
	switch op.kind {
	case refused, missing:
		return !s.exists, s
	case created:
		ok, next = !s.exists, newState(op)
	case read:
		ok, next = s.exists, s
	case claimed:
		ok, next = s.claim(op)
	case extended:
		ok, next = s.extend(op)
	case noted:
		ok, next = s.note(op)
	case ended:
		ok, next = s.finish(op)
	case notExtend:
		return s.refusesExtend(op), s
	case notEnded:
		return s.live(op) && s.attempt != op.op.(backends.End).Attempt, s
	case seenAlive:
		return s.live(op), s
	}
	if ok && op.rec.ID != "" {
		return next.reads(op)
	}
	return ok, next
}

func newState(op step) state {
	c := op.op.(backends.Create)
	deadline := op.at + c.PendingTimeout.Microseconds()
	return state{exists: true, status: backends.StatusPending,
		codec: c.Codec, payload: string(c.Payload), headers: headers(c.Headers),
		created: op.at, updated: op.at, deadline: deadline, last: deadline, now: op.at, changed: op.at}
}

// headers writes out headers. Only none are "".
func headers(h map[string]string) string {
	if h == nil {
		return ""
	}
	return fmt.Sprintf("%q", h)
}

func (s state) isEnded() bool {
	return s.status != backends.StatusPending && s.status != backends.StatusRunning
}

// live reports whether the request may have been live when the server did this.
func (s state) live(op step) bool {
	return s.exists && !s.isEnded() && max(s.now, op.from) <= s.last+s.slack
}

// claimed reports whether a claim holds the request, if its lease has not expired.
func (s state) claimed() bool { return s.status == backends.StatusRunning }

func (s state) claim(op step) (bool, state) {
	at, latest := op.at, op.at
	if at == 0 {
		at, latest = max(s.now, op.from), min(s.last+s.slack, op.by)
		if s.claimed() {
			at = max(at, s.deadline+1)
		}
	}
	waits := s.status == backends.StatusPending || s.claimed() && s.deadline < min(at, s.last)
	if !waits || s.attempt != op.attempt-1 || at < s.now || at > min(latest, s.last+s.slack) {
		return false, s
	}
	s.status, s.attempt, s.started = backends.StatusRunning, op.attempt, at
	s.run(op.terms, op.terms.RunningTimeout, at)
	s.slack, s.changed = latest-at, latest
	return true, s
}

// run sets the deadlines of a claim that starts, or is extended or released, at this time.
func (s *state) run(t backends.Terms, lasts time.Duration, at int64) {
	s.updated, s.now = at, at
	s.deadline = at + lasts.Microseconds()
	s.last = s.deadline
	if s.attempt < t.MaxAttempts {
		s.last += t.PendingTimeout.Microseconds()
	}
}

func (s state) extend(op step) (bool, state) {
	e := op.op.(backends.Extend)
	next, at, latest := s, op.at, op.at
	if at == 0 {
		at, latest = max(s.now, op.from), op.by
	}
	next.run(e.Terms, e.RunningTimeout, at)
	until, again := s.deadline, next.deadline-at
	if e.Release {
		next.run(e.Terms, e.After-time.Microsecond, at)
		until, again = s.last, next.last-at
	}
	if !s.claimed() || s.attempt != e.Attempt || at < s.now || at > min(latest, until+s.slack) {
		return false, s
	}
	if s.cancelledAs != "" {
		next.deadline, next.last, again = s.deadline, s.last, 0
	}
	if op.at == 0 { // each repetition may come as late as the one before it allows
		latest = min(latest, until+s.slack+maxTries*max(again, 0))
	}
	if next.changed = latest; s.cancelledAs == "" {
		next.slack = latest - at
	}
	if e.Codec != "" {
		next.codec, next.payload = e.Codec, string(e.Payload)
	}
	return op.lease.UpdatedAt.IsZero() || next.leased(op.lease), next
}

// leased reports whether an Extend is answered with this.
func (s state) leased(l backends.Lease) bool {
	return s.slack == 0 && s.updated == calls.Micros(l.UpdatedAt) &&
		s.deadline == calls.Micros(l.Deadline) &&
		s.cancelledAs == l.CancelledAs && s.cancelReason == l.CancelReason
}

// refusesExtend reports whether an Extend may be refused as stale.
func (s state) refusesExtend(op step) bool {
	e := op.op.(backends.Extend)
	expired := s.deadline < min(op.by, s.last+s.slack) && !e.Release
	return s.live(op) && (!s.claimed() || s.attempt != e.Attempt || expired)
}

// note notes a cancel with a grace. If no record shows when, it did not move the deadline.
func (s state) note(op step) (bool, state) {
	c := op.op.(backends.Cancel)
	at, latest, grace := op.at, op.at, op.at+c.Grace.Microseconds()
	if at == 0 {
		at, latest, grace = max(s.now, op.from), op.by, calls.Never
	}
	last := s.deadline + s.slack
	if !s.claimed() || s.cancelledAs != "" || c.Grace == 0 || at < s.now || at > min(latest, last) {
		return false, s
	}
	s.deadline, s.changed = min(max(s.deadline, at), grace), min(latest, last)
	s.last, s.slack = s.deadline, min(last, grace)-s.deadline
	s.cancelledAs, s.cancelReason = c.Outcome, c.Error
	s.updated, s.now = at, at
	return true, s
}

func (s state) finish(op step) (bool, state) {
	if !s.live(op) || op.at < s.now || op.at > s.last+s.slack {
		return false, s
	}
	switch c := op.op.(type) {
	case backends.End:
		if s.attempt != c.Attempt {
			return false, s
		}
		s.status, s.text, s.codec, s.payload = c.Outcome, c.Error, c.Codec, string(c.Payload)
	case backends.Cancel:
		if c.Grace != 0 && s.claimed() && op.at <= s.deadline {
			return false, s
		}
		s.status, s.text = c.Outcome, c.Error
	}
	s.cancelledAs, s.cancelReason = "", ""
	s.updated, s.now, s.changed = op.at, op.at, op.at
	return true, s
}

// reads checks what was answered.
func (s state) reads(op step) (bool, state) {
	rec, at := op.rec, calls.Micros(op.rec.ReadAt)
	if rec.Ended() && at == calls.Micros(rec.UpdatedAt) {
		at = max(at, s.now) // an ended record need not tell when it was read
	}
	if at < s.now || s.slack > 0 {
		return false, s
	}
	s.now = at
	want := s.view(at)
	stored := want.codec == rec.Codec && want.payload == string(rec.Payload)
	if op.bare {
		stored = len(rec.Payload) == 0
	}
	timed := want.created == calls.Micros(rec.CreatedAt) &&
		want.started == calls.Micros(rec.StartedAt) &&
		want.updated == calls.Micros(rec.UpdatedAt) && want.deadline == calls.Micros(rec.Deadline) &&
		want.last == calls.Micros(rec.LastDeadline)
	said := want.cancelledAs == rec.CancelledAs && want.cancelReason == rec.CancelReason &&
		strings.HasPrefix(rec.Error, want.text) && (want.text == timedOut || rec.Error == want.text)
	return stored && timed && said && want.status == rec.Status && want.attempt == rec.Attempt &&
		want.headers == headers(rec.Headers), s
}

// timedOut is how the errors of timeouts that nobody wrote begin.
const timedOut = "timed out: "

// view is the state as it reads at a time.
func (s state) view(at int64) state {
	if s.isEnded() || at <= s.deadline {
		return s
	}
	if at <= s.last {
		s.status, s.updated, s.deadline = backends.StatusPending, s.deadline, s.last
		return s
	}
	s.status, s.text = backends.StatusTimeout, timedOut
	if s.cancelledAs != "" {
		s.status, s.text = s.cancelledAs, s.cancelReason
	}
	s.updated, s.deadline = s.last, s.last
	s.cancelledAs, s.cancelReason = "", ""
	return s
}

package history

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// The model says what a store that never fails does with one request. A history is checked against
// the model request by request. The model knows the rules of package backends. It shares no code
// with a backend or with Record.At.

// step is one operation on one request, with its reply.
type step struct {
	kind  kind
	terms backends.Terms
	id    string

	op      any             // create, extend, note and end: the operation of the call
	attempt int             // claim: the attempt that it starts
	rec     backends.Record // the record in the reply, if there is one
	bare    bool            // rec has no payload
	lease   backends.Lease  // extend: the lease in the reply, if there is one
	at      int64           // the server's time; 0 if unknown; fail-over: FailOver.Safe
	from    int64           // the earliest time at which the server did it
	by      int64           // the latest time at which the server did it
	may     bool            // the step may or may not have happened
}

type kind int

const (
	created    kind = iota // a Create made the request
	refused                // a Create was refused: busy or full
	read                   // the reply to some operation was rec
	missing                // the request was not found
	claimed                // a Claim started an attempt
	extended               // an Extend succeeded
	notExtend              // an Extend was refused as stale
	noted                  // a Cancel with a grace was noted
	ended                  // an End or a Cancel ended the request
	notEnded               // an End was refused as stale
	seenAlive              // another Create was refused because this request was live
	failedOver             // a master died and may have lost all later changes
	closing                // all replies have arrived
)

var kindNames = [...]string{"create", "create refused", "read", "not found", "claim", "extend",
	"extend refused", "note of a cancel", "end", "end refused", "found busy", "fail-over",
	"all replies have arrived"}

func (s step) String() string {
	if s.may {
		return "perhaps " + kindNames[s.kind]
	}
	return kindNames[s.kind]
}

// state is a stored request. Times are microseconds since the epoch.
type state struct {
	exists                    bool
	mailbox, status, text     string
	codec, payload, headers   string
	cancelledAs, cancelReason string
	attempt                   int
	created, started, updated int64
	deadline, last            int64
	now                       int64 // the server's clock shows at least this time
	changed                   int64 // the latest time at which the request came into this state
	closed                    bool  // steps that may have happened, and did not, come last

	// The time of a claim or an Extend is unknown if no record shows it. Then updated is the
	// earliest possible time, and deadline and last follow from it. The real times of all three may
	// be later by up to slack.
	slack int64
}

// requestModel is the model of one request for porcupine.
var requestModel = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, _ any) (bool, any) { return s.(state).apply(in.(step)) },
}

func (s state) apply(op step) (bool, state) {
	if op.may && s.closed {
		return true, s
	}
	return s.does(op)
}

// does reports whether the step is possible, and returns the state after it.
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
		e := op.op.(backends.End)
		return s.live(op) && !s.has(e.Attempt, e.StartedAt), s
	case seenAlive:
		return s.live(op), s
	case closing:
		s.closed = true
		return true, s
	}
	if ok && op.rec.ID != "" {
		return next.reads(op)
	}
	return ok, next
}

func newState(op step) state {
	c := op.op.(backends.Create)
	deadline := op.at + c.PendingTimeout.Microseconds()
	return state{
		exists:   true,
		mailbox:  c.Mailbox,
		status:   backends.StatusPending,
		codec:    c.Codec,
		payload:  string(c.Payload),
		headers:  headers(c.Headers),
		created:  op.at,
		updated:  op.at,
		deadline: deadline,
		last:     deadline,
		now:      op.at,
		changed:  op.at,
	}
}

// headers returns headers as text, or "" if there are none.
func headers(h map[string]string) string {
	if h == nil {
		return ""
	}
	return fmt.Sprintf("%q", h)
}

func (s state) isEnded() bool {
	return s.status != backends.StatusPending && s.status != backends.StatusRunning
}

// live reports whether the request may have been live at the time of the step.
func (s state) live(op step) bool {
	return s.exists && !s.isEnded() && max(s.now, op.from) <= s.last+s.slack
}

// claimed reports whether a claim holds the request. Its lease may have expired.
func (s state) claimed() bool { return s.status == backends.StatusRunning }

// has reports whether the latest claim has this attempt and this start.
func (s state) has(attempt int, startedAt time.Time) bool {
	return s.attempt == attempt && (startedAt.IsZero() || s.started == startedAt.UnixMicro())
}

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

// run sets the deadlines of a claim that is started, extended or released at this time.
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
	held := s.claimed() && s.has(e.Attempt, e.StartedAt)
	if !held || at < s.now || at > min(latest, until+s.slack) {
		return false, s
	}
	if s.cancelledAs != "" {
		next.deadline, next.last, again = s.deadline, s.last, 0
	}
	if op.at == 0 { // each retry may come as late as the previous try allows
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

// leased reports whether the reply to an Extend is right.
func (s state) leased(l backends.Lease) bool {
	return s.slack == 0 && s.updated == calls.Micros(l.UpdatedAt) &&
		s.deadline == calls.Micros(l.Deadline) &&
		s.cancelledAs == l.CancelledAs && s.cancelReason == l.CancelReason
}

// refusesExtend reports whether an Extend may be refused as stale.
func (s state) refusesExtend(op step) bool {
	e := op.op.(backends.Extend)
	expired := s.deadline < min(op.by, s.last+s.slack) && !e.Release
	return s.live(op) && (!s.claimed() || !s.has(e.Attempt, e.StartedAt) || expired)
}

// note notes a cancel with a grace. If no record shows its time, the cancel did not move the
// deadline.
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
		if !s.has(c.Attempt, c.StartedAt) {
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

// reads checks the record in a reply.
func (s state) reads(op step) (bool, state) {
	rec, at := op.rec, calls.Micros(op.rec.ReadAt)
	if rec.Ended() && at == calls.Micros(rec.UpdatedAt) {
		at = max(at, s.now) // ReadAt of an ended record may be its UpdatedAt
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
		want.updated == calls.Micros(rec.UpdatedAt) &&
		want.deadline == calls.Micros(rec.Deadline) &&
		want.last == calls.Micros(rec.LastDeadline)
	said := want.cancelledAs == rec.CancelledAs && want.cancelReason == rec.CancelReason &&
		strings.HasPrefix(rec.Error, want.text) && (want.text == timedOut || rec.Error == want.text)
	return stored && timed && said && want.status == rec.Status && want.attempt == rec.Attempt &&
		want.headers == headers(rec.Headers) && want.mailbox == rec.Mailbox, s
}

// timedOut is the start of the error of a derived timeout.
const timedOut = "timed out: "

// view returns the state as a read at this time shows it.
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

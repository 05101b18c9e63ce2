package proof_test

import (
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
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

	attempt int             // claim: the one that it gave; end and extend: the one that spoke
	end     backends.End    // end: its words
	cancel  bool            // end: by a Cancel, which has no payload
	rec     backends.Record // create, read and claim: what was answered, if it was
	at      int64           // when the server did it, 0 where nobody can know; extend: it was by then; fail-over: all until then is safe
	again   bool            // extend: it may have been repeated, and each time may have taken effect
}

type kind int

const (
	created    kind = iota // a Create was answered with rec
	refused                // a Create was refused: busy or full
	read                   // rec was answered, by whatever operation
	missing                // the request was not found
	claimed                // a Claim made it run at attempt
	extended               // an Extend succeeded
	mayExtend              // an Extend of which nobody knows whether it happened
	notExtend              // an Extend was refused as stale
	ended                  // an End succeeded
	notEnded               // an End was refused as stale
	seenAlive              // another Create was refused because of this live request
	mayClaim               // a Claim of which nobody knows whether it happened, nor when
	failedOver             // a master died, with what had happened after at, perhaps
)

var kindNames = [...]string{"create", "create refused", "read", "not found", "claim", "extend", "perhaps extend",
	"extend refused", "end", "end refused", "found busy", "perhaps claim", "fail-over"}

func (k kind) String() string { return kindNames[k] }

// state is a request as it is stored. Times are microseconds since the epoch.
type state struct {
	exists                    bool
	status, text, payload     string
	attempt                   int
	created, started, updated int64
	deadline, last            int64
	now                       int64 // the server's clock is not behind this

	// An Extend does not tell when it happened. Until a read tells, updated is the earliest,
	// deadline and last belong to it, and all three may be later by up to slack.
	slack int64
	vague bool // nor is it known when the claim was made: started is the earliest
}

// requestModel is what porcupine checks the steps of one request against.
var requestModel = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, _ any) (bool, any) { return s.(state).apply(in.(step)) },
}

func (s state) apply(op step) (bool, state) {
	switch op.kind {
	case refused, missing:
		return !s.exists, s
	case created:
		if !s.exists {
			s = newState(op)
		}
		return s.reads(op)
	case mayExtend:
		if ok, next := s.extend(op); ok {
			return true, next
		}
		return true, s
	case mayClaim:
		if ok, next := s.claim(op); ok && s.exists {
			return true, next
		}
		return true, s
	}
	if !s.exists {
		return false, s
	}
	switch op.kind {
	case read:
		return s.reads(op)
	case claimed:
		ok, next := s.claim(op)
		if ok && op.rec.ID != "" {
			return next.reads(op)
		}
		return ok, next
	case extended:
		return s.extend(op)
	case ended:
		return s.finish(op)
	case notExtend:
		return s.live() && (s.status != backends.StatusRunning || s.attempt != op.attempt || s.mayLapse()), s
	case notEnded:
		return s.live() && s.attempt != op.attempt, s
	}
	return s.live(), s // seenAlive
}

func newState(op step) state {
	at := micros(op.rec.CreatedAt)
	deadline := at + op.terms.PendingTimeout.Microseconds()
	return state{exists: true, status: backends.StatusPending, payload: string(op.rec.Payload), created: at, updated: at,
		deadline: deadline, last: deadline, now: at}
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func (s state) isEnded() bool {
	return s.status != backends.StatusPending && s.status != backends.StatusRunning
}

// live reports whether the request may be live at some time from now on.
func (s state) live() bool { return !s.isEnded() && s.now <= s.last+s.slack }

// mayLapse reports whether a running request's claim could have lapsed without a timeout.
func (s state) mayLapse() bool { return s.last > s.deadline }

func (s state) claim(op step) (bool, state) {
	at := op.at
	if at == 0 {
		at = s.now
	}
	lapsed := s.status == backends.StatusRunning && s.mayLapse() && (op.at == 0 || at > s.deadline)
	if s.isEnded() || s.attempt != op.attempt-1 || at > s.last+s.slack || at < s.now ||
		s.status == backends.StatusRunning && !lapsed {
		return false, s
	}
	if op.at == 0 && lapsed {
		at = s.deadline + 1
	}
	latest := s.last + s.slack // of a claim of unknown time
	s.slack, s.vague = 0, op.at == 0
	if s.vague {
		s.slack = latest - at
	}
	s.status, s.attempt, s.started, s.now = backends.StatusRunning, op.attempt, at, at
	s.run(op.terms, at)
	return true, s
}

// run sets the deadlines of a claim that starts or is extended at this time.
func (s *state) run(t backends.Terms, at int64) {
	s.updated = at
	s.deadline = at + t.RunningTimeout.Microseconds()
	s.last = s.deadline
	if s.attempt < t.MaxAttempts {
		s.last += t.PendingTimeout.Microseconds()
	}
}

func (s state) extend(op step) (bool, state) {
	latest := min(s.deadline+s.slack, op.at)
	if s.status != backends.StatusRunning || s.attempt != op.attempt || s.now > latest {
		return false, s
	}
	if op.again { // each repetition may come as late as the one before it allows
		latest = min(s.deadline+s.slack+maxTries*op.terms.RunningTimeout.Microseconds(), op.at)
	}
	s.run(op.terms, s.now)
	s.slack = latest - s.now
	return true, s
}

func (s state) finish(op step) (bool, state) {
	if s.isEnded() || op.at < s.now || op.at > s.last+s.slack || !op.cancel && s.attempt != op.attempt {
		return false, s
	}
	s.status, s.text, s.updated, s.now = op.end.Outcome, op.end.Error, op.at, op.at
	if !op.cancel {
		s.payload = string(op.end.Payload)
	}
	return true, s
}

// reads checks what was answered, and learns from it when an Extend was.
func (s state) reads(op step) (bool, state) {
	rec, at := op.rec, micros(op.rec.ReadAt)
	if rec.Ended() && at == micros(rec.UpdatedAt) {
		at = max(at, s.now) // an ended record need not tell when it was read
	}
	if at < s.now {
		return false, s
	}
	if s.slack > 0 && !s.isEnded() && !s.settle(op) {
		return false, s
	}
	s.now = at
	want := s.view(at)
	same := want.status == rec.Status && want.attempt == rec.Attempt && want.payload == string(rec.Payload) &&
		want.created == micros(rec.CreatedAt) && want.updated == micros(rec.UpdatedAt) &&
		(s.slack > 0 || want.deadline == micros(rec.Deadline) && want.last == micros(rec.LastDeadline)) &&
		strings.HasPrefix(rec.Error, want.text) && (want.text == timedOut || rec.Error == want.text)
	return same && (s.vague || s.started == micros(rec.StartedAt)), s
}

// settle finds out from a read when the claim was made or last extended.
func (s *state) settle(op step) bool {
	extendedAt := micros(op.rec.LastDeadline) - (s.last - s.updated)
	if extendedAt < s.updated || extendedAt > s.updated+s.slack || extendedAt > micros(op.rec.ReadAt) {
		return false
	}
	if startedAt := micros(op.rec.StartedAt); s.vague {
		if startedAt < s.started || startedAt > extendedAt {
			return false
		}
		s.started = startedAt
	}
	s.slack, s.vague = 0, false
	s.run(op.terms, extendedAt)
	return true
}

// timedOut is how the errors of timeouts that nobody wrote begin.
const timedOut = "timed out: "

// view is the state as it reads at a time.
func (s state) view(at int64) state {
	switch {
	case s.isEnded() || at <= s.deadline:
	case at <= s.last:
		s.status, s.updated, s.deadline = backends.StatusPending, s.deadline, s.last
	default:
		s.status, s.updated, s.deadline, s.text = backends.StatusTimeout, s.last, s.last, timedOut
	}
	return s
}

package history

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
	"github.com/pendingq/pendingq/internal/calls"
)

// A fail-over may lose the last changes of the dead master. If it loses one change of a mailbox, it
// loses all later changes of that mailbox too. All calls after the fail-over must agree with the
// changes that it kept.

// FailOver is a fail-over that may have lost acknowledged writes. Times are microseconds since the
// epoch.
type FailOver struct {
	Kind  string
	Shard int
	Safe  int64 // the replica had received all writes until this time
	Dead  int64 // the old master was dead
	Over  int64 // the replica had become the new master
}

// branch is a state that may be lost, and the branch before it.
type branch struct {
	state
	before *branch
}

// failOverModel is the requestModel for masters that fail over.
var failOverModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{branch{}} },
	Step: func(s, in, _ any) []any {
		b, op := s.(branch), in.(step)
		if op.kind == failedOver {
			return b.survivors(op.at)
		}
		ok, next := b.apply(op)
		switch {
		case !ok:
			return nil
		case next.sameAs(b.state):
			return []any{branch{next, b.before}}
		}
		return []any{branch{next, &b}}
	},
	Equal: func(a, b any) bool { return a.(branch).is(b.(branch)) },
}).ToModel()

// is reports whether two branches have the same states.
func (b branch) is(other branch) bool {
	if b.before == nil || other.before == nil {
		return b == other
	}
	return b.state == other.state && b.before.is(*other.before)
}

// survivors returns the branches that a fail-over may leave. Changes until safe are kept.
func (b branch) survivors(safe int64) (all []any) {
	for at := &b; at != nil; at = at.before {
		all = append(all, *at)
		if at.changed <= safe {
			break
		}
	}
	return all
}

// sameAs reports whether two states differ only in the clock.
func (s state) sameAs(earlier state) bool {
	earlier.now = s.now
	return s == earlier
}

// effect is something that happened to a request, by the server's time.
type effect struct {
	kind    kind   // created, claimed or ended
	attempt int    // of a claim
	text    string // of an end: its unique outcome and reason
	at      int64
}

// loss counts the acknowledged effects that fail-overs of one kind lost.
type loss struct {
	sessions int            // how many sessions had such a fail-over
	atRisk   int            // effects that the replica may not have received
	lost     [ended + 1]int // lost effects by their kind
}

func (l *loss) note(e effect, lost bool) {
	l.atRisk++
	if lost {
		l.lost[e.kind]++
	}
}

func (l loss) String() string {
	return fmt.Sprintf("%d sessions hit, %d acknowledged effects at risk, "+
		"lost %d creates, %d claims, %d ends", l.sessions,
		l.atRisk, l.lost[created], l.lost[claimed], l.lost[ended])
}

// Losses has the loss for each kind of fail-over.
type Losses map[string]loss

func (l Losses) add(other Losses) {
	for name, more := range other {
		sum := l[name]
		sum.sessions += more.sessions
		sum.atRisk += more.atRisk
		for kind, n := range more.lost {
			sum.lost[kind] += n
		}
		l[name] = sum
	}
}

// failOver adds a fail-over to the history of each request.
func (h *history) failOver(f FailOver) {
	for _, r := range h.requests {
		r.addBetween(f.Dead, f.Over, step{kind: failedOver, at: f.Safe})
		for attempt := 1; attempt < r.final.Attempt; attempt++ {
			// A later claim of this attempt may have replaced a lost one. No record shows it.
			if at := r.claims[attempt]; f.Safe < at && at <= f.Dead {
				r.addPerhaps(f.Dead, calls.Never, step{kind: claimed, attempt: attempt})
			}
		}
		// A claim may have been lost and replaced. No record shows the lost one.
		began, was := h.lostClaims(r, 0)
		for attempt := 1; attempt < r.attempts && began <= was; attempt++ {
			if r.claims[attempt] > f.Dead {
				r.addPerhaps(began, was, step{kind: claimed, attempt: attempt})
			}
		}
	}
}

// since returns the history of the calls that began after a fail-over was over.
func (h *history) since(f FailOver) *history {
	later := gather(slices.DeleteFunc(slices.Clone(h.calls),
		func(c *calls.Call) bool { return c.Began <= f.Over }))
	for id, r := range later.requests {
		r.unsure = h.requests[id].changes
	}
	return later
}

// checkLoss checks that a fail-over has lost only the last effects of a mailbox. It counts the
// acknowledged ones.
func (h *history) checkLoss(f FailOver, later *history) {
	count := loss{sessions: 1}
	firstLost, lastKept := effect{at: calls.Never}, effect{}
	for id, r := range h.requests {
		for e, told := range r.effects {
			if e.at <= f.Safe || e.at > f.Dead {
				continue
			}
			stands, known := later.shows(id, e)
			if told {
				count.note(e, known && !stands)
			}
			switch {
			case known && stands && e.at > lastKept.at:
				lastKept = e
			case known && !stands && e.at < firstLost.at:
				firstLost = e
			}
		}
	}
	h.losses.add(Losses{f.Kind: count})
	if firstLost.at < lastKept.at {
		h.fault("a fail-over lost %+v and kept the later %+v", firstLost, lastKept)
	}
}

// shows reports whether the last read of a request shows an effect, if that is known.
func (h *history) shows(id string, e effect) (stands, known bool) {
	r := h.requests[id]
	switch {
	case r == nil:
		return false, false
	case r.gone:
		return false, true
	case r.createdAt == 0:
		return false, false
	case e.kind == created:
		return r.createdAt == e.at, true
	case e.kind == ended:
		return calls.Wording(r.final.Status, r.final.Error) == e.text &&
			calls.Micros(r.final.UpdatedAt) == e.at, true
	}
	return r.final.Attempt == e.attempt && calls.Micros(r.final.StartedAt) == e.at,
		r.final.Attempt <= e.attempt
}

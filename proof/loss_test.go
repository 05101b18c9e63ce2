package proof_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
)

// What a fail-over may have lost: of each request the last of what the dead master did to it, and of a mailbox nothing
// that is older than what was kept. Whatever comes after it has to follow from what was kept.

// branch is a state that may be lost, and what the request was before it.
type branch struct {
	state
	before *branch
}

// failOverModel is requestModel where masters fail over.
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

// is reports whether two branches have come about alike.
func (b branch) is(other branch) bool {
	if b.before == nil || other.before == nil {
		return b == other
	}
	return b.state == other.state && b.before.is(*other.before)
}

// survivors are what a fail-over may leave of a request of which all was safe that had happened by then.
func (b branch) survivors(safe int64) (all []any) {
	for at := &b; at != nil; at = at.before {
		all = append(all, *at)
		if at.changed <= safe {
			break
		}
	}
	return all
}

// sameAs reports whether nothing happened between two states.
func (s state) sameAs(earlier state) bool {
	earlier.now = s.now
	return s == earlier
}

// effect is something that happened to a request, by the server's time.
type effect struct {
	kind    kind   // created, claimed or ended
	attempt int    // of a claim
	text    string // the words of an end, which no other has
	at      int64
}

// loss counts what callers had been told and fail-overs of one kind then lost.
type loss struct {
	sessions int // that were hit
	atRisk   int // effects that the replica may not have got
	lost     [ended + 1]int
}

func (l *loss) note(e effect, lost bool) {
	l.atRisk++
	if lost {
		l.lost[e.kind]++
	}
}

func (l loss) String() string {
	return fmt.Sprintf("%d sessions hit, %d acknowledged effects at risk, lost %d creates, %d claims, %d ends", l.sessions,
		l.atRisk, l.lost[created], l.lost[claimed], l.lost[ended])
}

// losses are counted by the kind of fail-over.
type losses map[string]loss

func (l losses) add(other losses) {
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
func (h *history) failOver(f failOver) {
	for _, r := range h.requests {
		r.addBetween(f.dead, f.over, step{kind: failedOver, at: f.safe})
		for attempt := 1; attempt < r.final.Attempt; attempt++ {
			if at := r.claims[attempt]; f.safe < at && at <= f.dead { // nobody may have seen the one that replaced it
				r.addPerhaps(f.dead, never, step{kind: claimed, attempt: attempt})
			}
		}
		// Nor may anybody have seen the one that was lost, and replaced.
		began, was := h.lostClaims(r, 0)
		for attempt := 1; attempt < r.attempts && began <= was; attempt++ {
			if r.claims[attempt] > f.dead {
				r.addPerhaps(began, was, step{kind: claimed, attempt: attempt})
			}
		}
	}
}

// since is the history of the calls that began after a fail-over was over.
func (h *history) since(f failOver) *history {
	later := gather(slices.DeleteFunc(slices.Clone(h.calls), func(c *call) bool { return c.began <= f.over }))
	for id, r := range later.requests {
		r.unsure = h.requests[id].changes
	}
	return later
}

// checkLoss checks that a fail-over has lost nothing of a mailbox that is older than what it kept, and counts what
// callers had been told.
func (h *history) checkLoss(f failOver, later *history) {
	count := loss{sessions: 1}
	firstLost, lastKept := effect{at: never}, effect{}
	for id, r := range h.requests {
		for e, told := range r.effects {
			if e.at <= f.safe || e.at > f.dead {
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
	h.losses.add(losses{f.kind: count})
	if firstLost.at < lastKept.at {
		h.fault("a fail-over lost %+v and kept %+v, which was later", firstLost, lastKept)
	}
}

// shows reports whether an effect still stands by what was seen of its request last, if that is known.
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
		return wording(r.final.Status, r.final.Error) == e.text && micros(r.final.UpdatedAt) == e.at, true
	}
	return r.final.Attempt == e.attempt && micros(r.final.StartedAt) == e.at, r.final.Attempt <= e.attempt
}

// lossCase is two creates, of which a later read does not find what was lost.
type lossCase struct {
	name        string
	at          [2]int64 // when they were created
	lost        [2]bool
	fails       []failOver
	permissible bool
}

func TestLossIsTheLastOfWhatWasDone(t *testing.T) {
	fails := []failOver{{safe: 1_000, dead: 2_000, over: 3_000}}
	for _, c := range []lossCase{
		{"nothing", [2]int64{1_100, 1_200}, [2]bool{}, fails, true},
		{"both", [2]int64{1_100, 1_200}, [2]bool{true, true}, fails, true},
		{"the last", [2]int64{1_100, 1_200}, [2]bool{false, true}, fails, true},
		{"the first alone", [2]int64{1_100, 1_200}, [2]bool{true, false}, fails, false},
		{"what was safe", [2]int64{900, 1_200}, [2]bool{true, true}, fails, false},
		{"what came after it", [2]int64{1_100, 3_100}, [2]bool{false, true}, fails, false},
		{"something without a fail-over", [2]int64{1_100, 1_200}, [2]bool{false, true}, nil, false},
	} {
		calls, lost := c.calls()
		h := newHistory(calls, c.fails...)
		h.checkMailbox([]backends.Terms{lasting("s")})
		if err := h.check(); (err == nil) != c.permissible {
			t.Errorf("%s is lost: got %v, permissible: %v", c.name, err, c.permissible)
		}
		if got := h.losses[""].lost[created]; c.permissible && got != lost {
			t.Errorf("%s is lost: %d are counted, want %d", c.name, got, lost)
		}
	}
}

func (c lossCase) calls() (calls []*call, lost int) {
	for i, at := range c.at {
		op := question(lasting("s"), fmt.Sprint(i))
		create := &call{op: op, began: at - 1, was: at + 1, rec: newlyCreated(op, at, at)}
		read := &call{op: get{op.Terms, op.ID}, began: 4_000, was: 4_002, rec: newlyCreated(op, at, 4_001)}
		if c.lost[i] {
			read.rec, read.err = backends.Record{}, backends.ErrNotFound
			lost++
		}
		calls = append(calls, create, read)
	}
	return calls, lost
}

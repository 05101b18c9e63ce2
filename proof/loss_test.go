package proof_test

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
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
		case next.sameBut(b.state):
			return []any{branch{next, b.before}}
		}
		return []any{branch{next, &b}}
	},
}).ToModel()

// survivors are what a fail-over may leave of a request of which all was safe that had happened by then.
func (b branch) survivors(safe int64) (all []any) {
	for at := &b; at != nil; at = at.before {
		all = append(all, *at)
		if at.changedBy() <= safe {
			break
		}
	}
	return all
}

// changedBy returns until when the request may have become what it is.
func (s state) changedBy() int64 { return s.updated + s.slack }

// sameBut reports whether nothing happened between two states, of which one may be better known.
func (s state) sameBut(earlier state) bool {
	return s.exists == earlier.exists && s.status == earlier.status && s.attempt == earlier.attempt &&
		s.changedBy() <= earlier.changedBy()
}

// effect is something that happened to a request, by the server's time.
type effect struct {
	kind    kind   // created, claimed or ended
	attempt int    // of a claim
	text    string // of an end, which no other has
	at      int64
}

// loss counts what callers had been told and fail-overs of one kind then lost.
type loss struct {
	sessions int // that were hit
	atRisk   int // effects that the replica may not have got
	lost     [ended + 1]int
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
				r.addBetween(f.dead, never, step{kind: mayClaim, attempt: attempt})
			}
		}
	}
}

// since is the history of the calls that began after a fail-over was over.
func (h *history) since(f failOver) *history {
	later := gather(slices.DeleteFunc(slices.Clone(h.calls), func(c *call) bool { return c.began <= f.over }))
	for id, r := range later.requests {
		r.extends = h.requests[id].extends
	}
	return later
}

// checkLoss checks what a fail-over has lost of a mailbox, and counts it.
func (h *history) checkLoss(f failOver, later *history) {
	count := loss{sessions: 1}
	var kept, lost []effect
	for id, r := range h.requests {
		now := later.requests[id]
		if now == nil {
			continue
		}
		for e, told := range r.effects {
			if e.at <= f.safe || e.at > f.dead {
				continue
			}
			stands, tells := now.shows(e)
			if told {
				count.atRisk++
			}
			switch {
			case !tells:
			case stands:
				kept = append(kept, e)
			default:
				lost = append(lost, e)
				if told {
					count.lost[e.kind]++
				}
			}
		}
	}
	h.losses.add(losses{f.kind: count})
	if len(kept) == 0 || len(lost) == 0 {
		return
	}
	byTime := func(a, b effect) int { return cmp.Compare(a.at, b.at) }
	if first, last := slices.MinFunc(lost, byTime), slices.MaxFunc(kept, byTime); first.at < last.at {
		h.fault("a fail-over lost %+v and kept %+v, which was later", first, last)
	}
}

// shows reports whether an effect still stands by what was seen of the request last, if that tells.
func (r *request) shows(e effect) (stands, tells bool) {
	switch {
	case r.gone:
		return false, true
	case r.createdAt == 0:
		return false, false
	case e.kind == created:
		return r.createdAt == e.at, true
	case e.kind == ended:
		return r.final.Error == e.text && micros(r.final.UpdatedAt) == e.at, true
	}
	return r.final.Attempt == e.attempt && micros(r.final.StartedAt) == e.at, r.final.Attempt <= e.attempt
}

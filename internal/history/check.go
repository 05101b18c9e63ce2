package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
)

// Check returns the first mistake. It checks each request against the model.
func (h *history) Check() error {
	if len(h.faulty) > 0 {
		return fmt.Errorf("%s\n(and %d more)", h.faulty[0], len(h.faulty)-1)
	}
	model := requestModel
	if len(h.fails) > 0 {
		model = failOverModel
	}
	for _, r := range h.requests {
		steps := r.steps
		if len(h.fails) == 0 {
			steps = r.informative()
		}
		switch porcupine.CheckOperationsTimeout(model, steps, patience) {
		case porcupine.Illegal:
			return fmt.Errorf("%s of %s: no order explains\n%s", r.id, r.terms.Store, r.describe())
		case porcupine.Unknown:
			return fmt.Errorf("%s of %s: no order was found in %v that explains\n%s",
				r.id, r.terms.Store, patience, r.describe())
		}
	}
	return nil
}

// patience is how long the search for an order may take. Most requests take milliseconds. Calls
// with lost replies and many concurrent steps take longer, above all on a loaded machine.
const patience = 2 * time.Minute

// informative returns the steps without those that found the request live, returned after its
// create, and began before a later step found it live, too. A request that has ended never lives
// again, so these steps say nothing. But they make the search long.
func (r *request) informative() []porcupine.Operation {
	made, alive := int64(calls.Never), int64(0)
	for _, o := range r.steps {
		switch s := o.Input.(step); {
		case s.kind == created:
			made = o.Return
		case s.kind == seenAlive, s.kind == read && !s.rec.Ended():
			alive = max(alive, o.Call)
		}
	}
	return slices.DeleteFunc(slices.Clone(r.steps), func(o porcupine.Operation) bool {
		return o.Input.(step).kind == seenAlive && made < o.Call && o.Return < alive
	})
}

// describe writes the steps of a request, in the order in which their calls began. Times are
// microseconds since the first call.
func (r *request) describe() string {
	steps := slices.Clone(r.steps)
	slices.SortFunc(steps, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	start := steps[0].Call
	for _, o := range steps {
		o.Input.(step).describe(&text, o, start)
		text.WriteByte('\n')
	}
	return text.String()
}

func (s step) describe(text *strings.Builder, o porcupine.Operation, start int64) {
	since := func(us int64) int64 { return max(us-start, -1) }
	sinceTime := func(t time.Time) int64 { return since(calls.Micros(t)) }
	fmt.Fprintf(text, "  %6d to %6d: %v attempt %d at %d",
		since(o.Call), since(o.Return), s, s.attempt, since(s.at))
	switch op := s.op.(type) {
	case backends.Extend:
		fmt.Fprintf(text, " of %d, release %v after %v, %.20q, until %d",
			op.Attempt, op.Release, op.After, op.Payload, sinceTime(s.lease.Deadline))
	case backends.Cancel:
		fmt.Fprintf(text, " as %s %q, grace %v", op.Outcome, op.Error, op.Grace)
	case backends.End:
		fmt.Fprintf(text, " of %d as %s %q", op.Attempt, op.Outcome, op.Error)
	}
	if rec := s.rec; rec.ID != "" {
		fmt.Fprintf(text, ": %s attempt %d %q %.20q noted %q",
			rec.Status, rec.Attempt, rec.Error, rec.Payload, rec.CancelReason)
		fmt.Fprintf(text, " read %d created %d updated %d started %d deadline %d last %d",
			sinceTime(rec.ReadAt), sinceTime(rec.CreatedAt), sinceTime(rec.UpdatedAt),
			sinceTime(rec.StartedAt), sinceTime(rec.Deadline), sinceTime(rec.LastDeadline))
	}
}

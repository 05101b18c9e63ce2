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
		steps := append(slices.Clip(r.steps), r.closing())
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

// patience is how long the search for an order may take. Nearly all requests take milliseconds.
const patience = time.Minute

// closing returns the step after all replies. Steps that may have happened, and did not, are put
// behind it. If they could be anywhere, the search would try all places for all of them.
func (r *request) closing() porcupine.Operation {
	last := int64(0)
	for _, o := range r.steps {
		last = max(last, o.Call)
		if o.Return < calls.Never {
			last = max(last, o.Return)
		}
	}
	return porcupine.Operation{Input: step{kind: closing}, Call: last + 1, Return: last + 2}
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

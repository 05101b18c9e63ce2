package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Shape returns the content of a reply without absolute times. Deadlines are relative to the time
// of the last change.
func (c *Call) Shape() string {
	switch op := c.Op.(type) {
	case backends.End:
		return endShape(c.Rec, c.Err, func(r backends.Record) bool {
			return said(r, op.Outcome, op.Error) && r.HasClaim(op.Attempt, op.StartedAt) &&
				r.Codec == op.Codec && bytes.Equal(r.Payload, op.Payload)
		})
	case backends.Cancel:
		return endShape(c.Rec, c.Err, func(r backends.Record) bool {
			return said(r, op.Outcome, op.Error)
		})
	case backends.Extend:
		if c.Err == nil {
			return leaseShape(c.Lease)
		}
	case backends.Claim:
		if c.Err == nil {
			return claimShape(c.Claimed)
		}
	case Look:
		if c.Err == nil {
			return fmt.Sprint(c.Pending)
		}
	case backends.Create, Get:
		if c.Err == nil {
			return RecordShape(c.Rec)
		}
	}
	return errorShape(c.Err)
}

// endShape returns the shape of the reply to a Cancel or an End. An EndedError counts as success if
// own reports that the stored ending is the caller's own: then the call was a retry.
func endShape(rec backends.Record, err error, own func(backends.Record) bool) string {
	var ended *backends.EndedError
	if errors.As(err, &ended) && own(ended.Record) {
		rec, err = ended.Record, nil
		rec.Codec, rec.Payload = "", nil
	}
	if err == nil {
		return "stands: " + RecordShape(rec)
	}
	return errorShape(err)
}

func said(r backends.Record, outcome, reason string) bool {
	return r.Status == outcome && r.Error == reason
}

func leaseShape(l backends.Lease) string {
	return fmt.Sprintf("lasts %v, cancelled as %q %q",
		lasts(l.UpdatedAt, l.Deadline, l.CancelledAs), l.CancelledAs, l.CancelReason)
}

// lasts returns how far away a deadline was when it was set. The deadline of a noted cancel may
// have been set a little earlier, so it is rounded.
func lasts(updated, deadline time.Time, cancelledAs string) time.Duration {
	if cancelledAs != "" {
		return deadline.Sub(updated).Round(time.Minute)
	}
	return deadline.Sub(updated)
}

func claimShape(claimed []backends.Claimed) string {
	var text strings.Builder
	for i, from := range claimed {
		fmt.Fprintf(&text, "store %d:\n", i)
		for _, rec := range from.Records {
			fmt.Fprintln(&text, " ", RecordShape(rec))
		}
		for _, err := range from.Errs {
			fmt.Fprintln(&text, " ", errorShape(err))
		}
	}
	return text.String()
}

func errorShape(err error) string {
	var ended *backends.EndedError
	var busy *backends.BusyError
	var corrupt *backends.CorruptError
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &ended):
		return "error: has ended: " + RecordShape(ended.Record)
	case errors.As(err, &busy):
		return "error: busy with " + busy.ID
	case errors.As(err, &corrupt):
		return "error: corrupt " + corrupt.ID
	}
	for _, known := range []error{backends.ErrNotFound, backends.ErrStaleClaim, backends.ErrFull,
		context.Canceled} {
		if errors.Is(err, known) {
			return "error: " + known.Error()
		}
	}
	return "failure"
}

// RecordShape returns the content of a record without absolute times.
func RecordShape(r backends.Record) string {
	live := "for ever"
	if !r.Ended() {
		live = fmt.Sprint(lasts(r.UpdatedAt, r.Deadline, r.CancelledAs), " and ",
			r.LastDeadline.Sub(r.Deadline))
	}
	return fmt.Sprintf("%s in %q: %s at attempt %d for %s, error %q, %s payload %q, started %v, "+
		"headers %#v, cancelled as %q %q",
		r.ID, r.Mailbox, r.Status, r.Attempt, live, r.Error, r.Codec, r.Payload,
		!r.StartedAt.IsZero(), r.Headers, r.CancelledAs, r.CancelReason)
}

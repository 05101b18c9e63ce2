package backends

import (
	"bytes"
	"fmt"
	"maps"
	"time"
)

// The statuses of the library. A policy may declare more statuses for ended requests.
const (
	StatusPending   = "pending"
	StatusRunning   = "running"
	StatusCompleted = "completed"
	StatusFailed    = "failed"
	StatusTimeout   = "timeout"
	StatusCancelled = "cancelled"
)

// Record is a stored request. Its times are whole microseconds of the backend's clock, in UTC.
// A time that does not apply is zero.
type Record struct {
	ID      string
	Mailbox string
	Status  string
	Attempt int    // the number of the latest claim; 0 before the first claim
	Error   string // why the request failed, timed out or was cancelled
	Codec   string // the name of Payload's encoding
	Payload []byte

	Headers map[string]string // the headers from Create; nil or empty if there are none

	CreatedAt time.Time
	UpdatedAt time.Time // the last Create, Claim, Extend, Cancel or End
	StartedAt time.Time // the latest Claim; constant until the next one

	// Deadline is when an unclaimed request times out, or when the lease of a claimed one expires.
	Deadline time.Time

	// LastDeadline is when a live request ends by itself. While the request runs and has attempts
	// left, LastDeadline is later than Deadline. Otherwise both are equal. The deadlines of an
	// ended record have no meaning.
	LastDeadline time.Time

	// CancelledAs and CancelReason are the outcome and the error of a Cancel that was noted on a
	// running request. Without a noted cancel both are "".
	CancelledAs  string
	CancelReason string

	// ReadAt is when the backend read the record. It is not stored. It tells the caller how far
	// away a deadline is, whatever the caller's clock says. If a Cancel or an End has ended the
	// request, ReadAt equals UpdatedAt.
	ReadAt time.Time
}

// Record returns the record that a Create stores at the time now. It has copies of c's Payload and
// Headers.
func (c Create) Record(now time.Time) Record {
	deadline := now.Add(c.PendingTimeout)
	return Record{ID: c.ID, Mailbox: c.Mailbox, Status: StatusPending, Codec: c.Codec,
		Payload: bytes.Clone(c.Payload), Headers: maps.Clone(c.Headers), CreatedAt: now,
		UpdatedAt: now, Deadline: deadline, LastDeadline: deadline, ReadAt: now}
}

// HasClaim reports whether the record's latest claim has this attempt and this StartedAt. A zero
// startedAt is unknown and is not compared.
func (r Record) HasClaim(attempt int, startedAt time.Time) bool {
	// mutation: started
	return r.Attempt == attempt && (startedAt.IsZero() || r.StartedAt.Equal(startedAt))
}

// Ended reports whether Status is final. [Record.At] returns the record with the status at a time.
func (r Record) Ended() bool {
	return r.Status != StatusPending && r.Status != StatusRunning
}

// At returns the record as it reads at the time now, and sets ReadAt to now. No operation writes a
// timeout. A stored live record reads
//
//   - as stored, until its Deadline, that microsecond included;
//   - then as pending, until its LastDeadline, that microsecond included. It keeps its attempt, and
//     can be claimed again. UpdatedAt is the old Deadline, and Deadline is LastDeadline;
//   - then as ended. UpdatedAt and Deadline are LastDeadline. If a cancel was noted, the status is
//     CancelledAs and the error is CancelReason. Otherwise the status is timeout, and the error
//     says what did not happen in time.
//
// Every backend applies At to the records that it returns.
func (r Record) At(now time.Time) Record {
	r.ReadAt = now
	switch {
	case r.Ended():
		r.ReadAt = r.UpdatedAt
		return r
	case !now.After(r.Deadline): // mutation: deadline
		return r
	case !now.After(r.LastDeadline): // mutation: last-deadline
		r.Status, r.UpdatedAt, r.Deadline = StatusPending, r.Deadline, r.LastDeadline
		return r
	}
	r.Status, r.Error = r.outcome()
	r.UpdatedAt, r.Deadline = r.LastDeadline, r.LastDeadline
	r.CancelledAs, r.CancelReason = "", ""
	return r
}

// outcome returns the status and the error of a stored live record after its last deadline. The
// error of a timeout says for how long nothing happened.
func (r Record) outcome() (status, reason string) {
	switch {
	case r.CancelledAs != "": // mutation: cancels
		return r.CancelledAs, r.CancelReason
	case r.Status == StatusPending:
		return StatusTimeout, fmt.Sprintf("timed out: no worker claimed the request within %v; "+
			"is one polling this mailbox?", r.Deadline.Sub(r.CreatedAt))
	case r.Deadline.Before(r.LastDeadline):
		return StatusTimeout, fmt.Sprintf("timed out: attempt %d ended without an answer, "+
			"and no worker claimed the request again within %v",
			r.Attempt, r.LastDeadline.Sub(r.Deadline))
	}
	if !r.Deadline.After(r.UpdatedAt) {
		return StatusTimeout, fmt.Sprintf(
			"timed out: attempt %d was released, and no attempt is left", r.Attempt)
	}
	return StatusTimeout, fmt.Sprintf("timed out: no report on attempt %d came for %v",
		r.Attempt, r.Deadline.Sub(r.UpdatedAt)) // also after a release with a pause
}

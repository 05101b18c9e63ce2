package backends

import (
	"fmt"
	"time"
)

// The statuses of the library. A policy may declare further ones for requests that have ended.
const (
	StatusPending   = "pending"
	StatusRunning   = "running"
	StatusCompleted = "completed"
	StatusFailed    = "failed"
	StatusTimeout   = "timeout"
	StatusCancelled = "cancelled"
)

// Record is a stored request. Its times are whole microseconds of the backend's clock, in UTC.
// Times that do not apply are zero.
type Record struct {
	ID      string
	Mailbox string
	Status  string
	Attempt int    // the number of the latest claim; 0 while never claimed
	Error   string // why it failed, timed out or was cancelled
	Codec   string // what Payload is encoded with
	Payload []byte

	Headers map[string]string // what its creator has sent along; nil if nothing

	CreatedAt time.Time
	UpdatedAt time.Time // the last create, claim, extend, cancel or end
	StartedAt time.Time // the latest claim

	// Deadline is when an unclaimed request times out, and when a lease expires.
	Deadline time.Time

	// LastDeadline is when a live request ends by itself. It is later than Deadline while the
	// request runs and has attempts left, and equal to it otherwise. An ended record keeps the
	// deadlines that it had, and they mean nothing.
	LastDeadline time.Time

	// CancelledAs is the outcome that a Cancel has noted on a running request, and CancelReason its
	// error. Both are "" otherwise.
	CancelledAs  string
	CancelReason string

	// ReadAt is when the backend read the record. It is not stored. With it a caller can tell how
	// far away a deadline is, without a clock of its own. For a record that an operation has ended
	// it equals UpdatedAt.
	ReadAt time.Time
}

// Ended reports whether Status is final. [Record.At] tells what time has
// made of the status.
func (r Record) Ended() bool {
	return r.Status != StatusPending && r.Status != StatusRunning
}

// At returns the record as it reads at now, which becomes its ReadAt. Nobody writes a timeout. A
// stored record that is live reads
//
//   - as stored until its Deadline, that microsecond included;
//   - then as pending until its LastDeadline, still with its attempt: it can be claimed again;
//   - then as ended: as CancelledAs with CancelReason if a cancel was noted, and otherwise as timed
//     out, with an Error that says which timeout it was. UpdatedAt is its last deadline.
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

// outcome returns how a live record ends by itself. A person who reads the error learns which
// timeout it was, and how long.
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
	return StatusTimeout, fmt.Sprintf("timed out: the worker of attempt %d reported nothing for %v",
		r.Attempt, r.Deadline.Sub(r.UpdatedAt))
}

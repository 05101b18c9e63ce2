package backends

import (
	"fmt"
	"time"
)

// The statuses that the library itself gives. A policy may declare further ones for ended requests.
const (
	StatusPending   = "pending"
	StatusRunning   = "running"
	StatusCompleted = "completed"
	StatusFailed    = "failed"
	StatusTimeout   = "timeout"
)

// Record is a stored request. Its times are whole microseconds of the backend's clock, in UTC; those that do
// not apply are zero.
type Record struct {
	ID      string
	Mailbox string
	Status  string
	Attempt int    // which claim this is; 0 while never claimed
	Error   string // why it failed or timed out
	Codec   string // what Payload is encoded with
	Payload []byte

	CreatedAt time.Time
	UpdatedAt time.Time // the last create, claim, extend or end
	StartedAt time.Time // the latest claim

	// Deadline is when the stored status runs out: an unclaimed request times out; a claimed one lapses.
	Deadline time.Time

	// LastDeadline is when a live request times out for good. It is later than Deadline while the request
	// is claimed and has attempts left, and equal to it otherwise.
	LastDeadline time.Time

	// ReadAt is when the backend read the record. It is not stored: see At. With it a caller can tell how long a
	// deadline is away without a clock of its own. That of a record which was ended is its UpdatedAt: it has read the
	// same ever since.
	ReadAt time.Time
}

// Ended reports whether the record's status is one that never changes again. It says so for the status as it
// stands: see At for the one that time makes of it.
func (r Record) Ended() bool {
	return r.Status != StatusPending && r.Status != StatusRunning
}

// At returns the record as it reads at now, its ReadAt. Timeouts are never written: a stored record that is live is shown
//
//   - as stored until its Deadline, that microsecond included;
//   - then, while its LastDeadline is not past, as pending, still with its attempt, waiting to be claimed again;
//   - then as timed out, with UpdatedAt its last deadline and Error saying which timeout it was.
//
// Every backend applies it to what it returns.
func (r Record) At(now time.Time) Record {
	r.ReadAt = now
	switch {
	case r.Ended():
		r.ReadAt = r.UpdatedAt
		return r
	case !now.After(r.Deadline):
		return r
	case !now.After(r.LastDeadline):
		r.Status, r.UpdatedAt, r.Deadline = StatusPending, r.Deadline, r.LastDeadline
		return r
	}
	r.Error = r.timeoutReason()
	r.Status, r.UpdatedAt, r.Deadline = StatusTimeout, r.LastDeadline, r.LastDeadline
	return r
}

// timeoutReason tells a person which timeout ended the stored record, and how long it was.
func (r Record) timeoutReason() string {
	switch {
	case r.Status == StatusPending:
		return fmt.Sprintf("timed out: no worker claimed the request within %v; is one polling this mailbox?",
			r.Deadline.Sub(r.CreatedAt))
	case r.Deadline.Before(r.LastDeadline):
		return fmt.Sprintf("timed out: the worker of attempt %d went silent and no worker claimed the request "+
			"again within %v", r.Attempt, r.LastDeadline.Sub(r.Deadline))
	default:
		return fmt.Sprintf("timed out: the worker of attempt %d reported nothing for %v", r.Attempt,
			r.Deadline.Sub(r.UpdatedAt))
	}
}

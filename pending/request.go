package pending

import (
	"log/slog"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Status says where a request stands.
type Status string

// The statuses of every store. A policy may declare further ones for requests that have ended.
const (
	StatusPending   Status = backends.StatusPending   // waits for a claim, its first or, after a lapse, its next
	StatusRunning   Status = backends.StatusRunning   // a worker has it
	StatusCompleted Status = backends.StatusCompleted // answered: see Complete
	StatusFailed    Status = backends.StatusFailed    // the worker could not: see Fail
	StatusTimeout   Status = backends.StatusTimeout   // a deadline passed, or the requester gave up: see Timeout
)

// Ended reports whether a request with this status never changes again.
func (s Status) Ended() bool { return s != StatusPending && s != StatusRunning && s != "" }

// Request is one request as it stood when it was read. Changing it changes nothing that is stored: set
// Payload's answer, then Complete it.
//
// Its times are those of the backend's clock, in UTC and whole microseconds.
type Request[T any] struct {
	ID      string // 30 letters and digits, safe in a URL
	Mailbox string // whom it is for
	Status  Status
	Attempt int    // which claim this is, 1 for the first; 0 while never claimed
	Payload T      // the question, and once it has ended the answer
	Error   string // why it failed or timed out, for people

	CreatedAt time.Time
	UpdatedAt time.Time // when Status came to be; for a running one also the last Extend
	StartedAt time.Time // the latest claim; zero before any
	Deadline  time.Time // when a live request times out, or, running with attempts left, can be claimed again
}

// LogValue implements [slog.LogValuer]: ids, status and attempt, never the payload.
func (r Request[T]) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", r.ID),
		slog.String("mailbox", r.Mailbox),
		slog.String("status", string(r.Status)),
		slog.Int("attempt", r.Attempt),
	)
}

package pending

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Status says where a request stands.
type Status string

// The statuses of every store. A policy may declare further ones for requests that have ended.
const (
	StatusPending   Status = backends.StatusPending   // waits for a claim, perhaps again
	StatusRunning   Status = backends.StatusRunning   // a worker has it
	StatusCompleted Status = backends.StatusCompleted // answered: see Complete
	StatusFailed    Status = backends.StatusFailed    // the worker could not: see Fail
	StatusTimeout   Status = backends.StatusTimeout   // a deadline passed, or see Timeout
	StatusCancelled Status = backends.StatusCancelled // no longer wanted: see Cancel
)

// Ended reports whether a request with this status never changes again.
func (s Status) Ended() bool { return s != StatusPending && s != StatusRunning && s != "" }

// Request is one request as it stood when it was read. It is the requester's view: nothing that
// Get returns can end a request as its worker. Its times are those of the backend's clock, in UTC
// and whole microseconds.
type Request[T any] struct {
	ID      string // 30 letters and digits, safe in a URL
	Mailbox string // whom it is for
	Status  Status
	Attempt int    // the number of the latest claim, 1 for the first; 0 while never claimed
	Payload T      // the question, and once it has ended the answer
	Error   string // why it failed, timed out or was cancelled, for people

	Headers map[string]string // see WithHeaders; nil if there are none

	CreatedAt time.Time
	UpdatedAt time.Time // when Status last changed; of a running request also the last Extend
	StartedAt time.Time // the latest claim; zero before any
	Deadline  time.Time // when a live request times out, or when a lease with attempts left expires
}

// Claim is a request that a worker holds. Only the pops and [PendingStore.Held] make one. A worker
// sets Payload's answer and then calls Complete with it. All operations on a Claim act at its
// Attempt. So a worker whose lease has expired cannot end the claim of another worker.
type Claim[T any] struct {
	Request[T]

	// CancelRequested says that the requester wants the worker to stop, and CancelReason why. They
	// are as of the pop or Held that made the claim, or of its last Extend or Progress.
	CancelRequested bool
	CancelReason    string

	held     bool          // made by a pop or by Held
	left     time.Duration // of the lease, when the claim was made
	progress chan []byte   // takes progress to the Worker that has the claim; else nil
}

// claim makes the Claim of a request that its caller may hold.
func claim[T any](rec backends.Record, r *Request[T]) *Claim[T] {
	return &Claim[T]{Request: *r, held: true, left: rec.Deadline.Sub(rec.ReadAt),
		CancelRequested: rec.CancelledAs != "", CancelReason: rec.CancelReason}
}

// id returns the claim's ID, or "" if the claim is nil.
func (c *Claim[T]) id() string {
	if c == nil {
		return ""
	}
	return c.ID
}

// check returns an error if nobody can hold the claim.
func (c *Claim[T]) check() error {
	switch {
	case c == nil:
		return fmt.Errorf("%w: the claim is nil", ErrInvalid)
	case !c.held:
		return fmt.Errorf("%w: the claim was not made by a pop or by Held", ErrInvalid)
	}
	return cmp.Or(checkID(c.ID), checkRange("the claim's attempt", c.Attempt, 0, maxAttempts))
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

package pending

import (
	"errors"
	"fmt"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// What an operation refuses with, for errors.Is. Any other error comes from the backend, a codec or
// the context; after it the caller cannot know whether the operation happened, and may repeat it: a
// repeat has no second effect.
var (
	// ErrNotFound: no request has this id, or it ended longer ago than the policy's Retention.
	ErrNotFound = backends.ErrNotFound
	// ErrNoPending: the mailbox has nothing to claim.
	ErrNoPending = errors.New("nothing is pending")
	// ErrEnded: the request has ended, and its outcome stands.
	ErrEnded = backends.ErrEnded
	// ErrStaleClaim: the request is not at the attempt that r says; it was never claimed, or has
	// been claimed again.
	ErrStaleClaim = backends.ErrStaleClaim
	// ErrBusy: the store is Exclusive and the mailbox has a live request; the error is a
	// [BusyError].
	ErrBusy = backends.ErrBusy
	// ErrFull: the mailbox holds the policy's MaxPending.
	ErrFull = backends.ErrFull
	// ErrTooLarge: the encoded payload is over the policy's MaxPayload, or over a limit of the
	// codec. Nothing was stored.
	ErrTooLarge = codec.ErrTooLarge
	// ErrInvalid: an argument cannot be right; the text names it. Nothing was stored.
	ErrInvalid = errors.New("invalid argument")
)

// BusyError is [ErrBusy] with the id of the request that is live.
type BusyError = backends.BusyError

// DecodeError says that a stored request cannot be read. Its record is damaged or of another
// version, or its payload is of a codec that the store does not read (see [AlsoReads]), does not
// decode, or is sealed with an unknown key. A request that a claim met stays claimed until its
// deadline; Fail with its ID, Mailbox and Attempt ends it before.
type DecodeError struct {
	Store   string
	ID      string
	Mailbox string // "" when the record itself cannot be read
	Attempt int    // 0 also when the record itself cannot be read
	Err     error  // the cause
}

// Error says which request it is and why, without what it holds.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("pending: read %s %s (attempt %d): %v", e.Store, e.ID, e.Attempt, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// failed says what an operation attempted on what, and why it did not succeed.
func (c *core) failed(operation, what string, err error) error {
	var corrupt *backends.CorruptError
	if errors.As(err, &corrupt) {
		return &DecodeError{Store: c.policy.Name, ID: corrupt.ID, Err: corrupt.Err}
	}
	if what != "" {
		what = " " + what
	}
	return fmt.Errorf("pending: %s %s%s: %w", operation, c.policy.Name, what, err)
}

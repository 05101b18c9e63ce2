package pending

import (
	"errors"
	"fmt"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
)

// Errors that operations return, for errors.Is. Any other error comes from the backend, a codec or
// the context. After such an error the operation may or may not have happened. The caller may retry
// it: a retry has no second effect.
var (
	// ErrNotFound: no request has this id, or it ended longer ago than the policy's Retention.
	ErrNotFound = backends.ErrNotFound
	// ErrNoPending: the mailbox has nothing to claim.
	ErrNoPending = errors.New("nothing is pending")
	// ErrEnded: the request has ended, and its outcome stands.
	ErrEnded = backends.ErrEnded
	// ErrStaleClaim: the claim is over, because another claim has followed it, or because its lease
	// has expired and the operation needs the lease.
	ErrStaleClaim = backends.ErrStaleClaim
	// ErrBusy: the store is Exclusive and the mailbox has a live request; the error is a
	// [BusyError].
	ErrBusy = backends.ErrBusy
	// ErrFull: the mailbox holds the policy's MaxPending.
	ErrFull = backends.ErrFull
	// ErrTooLarge: a payload is over the policy's MaxPayload or a limit of the codec. A write
	// stored nothing. A read returns it inside a [DecodeError].
	ErrTooLarge = codec.ErrTooLarge
	// ErrInvalid: an argument is invalid; the text names it. Nothing was stored.
	ErrInvalid = errors.New("invalid argument")
)

// BusyError is [ErrBusy] with the id of the request that is live.
type BusyError = backends.BusyError

// DecodeError means that a stored request cannot be read. Either its record is damaged or of
// another version, or its payload cannot be decoded. Common causes are a codec that the store does
// not read (see [AlsoReads]) and an unknown key.
//
// If a pop returns a DecodeError, the request stays claimed until its deadline. To end it earlier,
// call Held with the ID and the Attempt of the error, and then Fail.
type DecodeError struct {
	Store   string
	ID      string
	Mailbox string // "" if the record cannot be read
	Attempt int    // 0 if the record cannot be read
	Err     error  // the cause
}

// Error names the request and the cause. It does not quote the payload.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("pending: read %s %s (attempt %d): %v", e.Store, e.ID, e.Attempt, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// wrap adds what an operation attempted, and on what, to its error.
func (c *core) wrap(err *error, operation, subject string) {
	if *err != nil {
		*err = c.failed(operation, subject, *err)
	}
}

// failed returns the error of an operation. A record that cannot be read is a DecodeError.
func (c *core) failed(operation, subject string, err error) error {
	var decode *DecodeError
	var corrupt *backends.CorruptError
	switch {
	case errors.As(err, &decode):
		return err
	case errors.As(err, &corrupt):
		return &DecodeError{Store: c.policy.Name, ID: corrupt.ID, Err: corrupt.Err}
	}
	if subject != "" {
		subject = fmt.Sprintf(" %.80q", subject)
	}
	return fmt.Errorf("pending: %s %s%s: %w", operation, c.policy.Name, subject, err)
}

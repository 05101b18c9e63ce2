package pending

import (
	"errors"
	"fmt"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
)

// Errors of operations that had no effect, for errors.Is. Any other error comes from the backend, a
// codec or the context. After such an error the operation may have happened. Repeat it: only
// Extend, Progress and Release then act again, from that moment. The repeat of a Create needs
// [WithIdempotencyKey], and that of a pop [WithClaimID].
var (
	ErrNotFound   = backends.ErrNotFound             // no such request, or its Retention is over
	ErrNoPending  = errors.New("nothing is pending") // the mailbox has nothing to claim
	ErrEnded      = backends.ErrEnded                // the request has ended and does not change
	ErrStaleClaim = backends.ErrStaleClaim           // another claim followed, or the lease expired
	ErrBusy       = backends.ErrBusy                 // a [BusyError]: see Policy.Exclusive
	ErrFull       = backends.ErrFull                 // Policy.MaxPending requests are claimable
	ErrTooLarge   = codec.ErrTooLarge                // over Policy.MaxPayload or the codec's limit
	ErrInvalid    = check.ErrInvalid                 // names the argument or the payload's field
)

// BusyError is an [ErrBusy] with the id of the live request.
type BusyError = backends.BusyError

// DecodeError means that a record is damaged or of another version, or that its payload cannot be
// decoded. Common causes are an unknown key, and a codec that the store lacks: see [AlsoReads].
//
// A pop that cannot decode a payload has claimed the request until its deadline. To end the request
// earlier, call Held with the ID and the Attempt of the error, and then Fail. A pop does not claim
// a request whose record cannot be read.
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

// wrap adds the operation and its subject to an error.
func (c *core) wrap(err *error, operation, subject string) {
	if *err != nil {
		*err = c.failed(operation, subject, *err)
	}
}

// failed returns the error of an operation. For an unreadable record it returns a DecodeError.
func (c *core) failed(operation, subject string, err error) error {
	if _, ok := errors.AsType[*DecodeError](err); ok {
		return err
	}
	if corrupt, ok := errors.AsType[*backends.CorruptError](err); ok {
		return &DecodeError{Store: c.policy.Name, ID: corrupt.ID, Err: corrupt.Err}
	}
	if subject != "" {
		subject = fmt.Sprintf(" %.80q", subject)
	}
	return fmt.Errorf("pending: %s %s%s: %w", operation, c.policy.Name, subject, err)
}

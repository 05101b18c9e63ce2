package backends

import (
	"errors"
	"fmt"
)

// The errors for refused operations. Package pending returns them to its users as they are.
var (
	ErrNotFound = errors.New("request not found")                  // never stored, or expired
	ErrEnded    = errors.New("request has ended")                  // its outcome is final
	ErrBusy     = errors.New("mailbox already has a live request") // the store is Exclusive
	ErrFull     = errors.New("mailbox is full")                    // MaxPending is reached

	// ErrStaleClaim means that the request was never claimed, that its lease has expired, that
	// another claim has followed, or that the request was created again under its id.
	ErrStaleClaim = errors.New("request is not running at this attempt")
)

// BusyError is [ErrBusy] with the id of a live request of the mailbox.
type BusyError struct{ ID string }

func (e *BusyError) Error() string        { return fmt.Sprintf("%v: %s", ErrBusy, e.ID) }
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// EndedError is [ErrEnded] with the ended record.
type EndedError struct{ Record Record }

func (e *EndedError) Is(target error) bool { return target == ErrEnded }

func (e *EndedError) Error() string {
	return fmt.Sprintf("%v: %s", ErrEnded, e.Record.Status)
}

// CorruptError means that this version cannot read the stored record of a request.
type CorruptError struct {
	ID  string
	Err error // what is wrong with the record
}

func (e *CorruptError) Error() string { return fmt.Sprintf("stored record of %s: %v", e.ID, e.Err) }
func (e *CorruptError) Unwrap() error { return e.Err }

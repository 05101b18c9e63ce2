package backends

import (
	"errors"
	"fmt"
)

// What a backend refuses with. Package pending hands them on, so they read as its users need them.
var (
	ErrNotFound = errors.New("request not found")                  // never stored, or no longer
	ErrEnded    = errors.New("request has ended")                  // its outcome stands
	ErrBusy     = errors.New("mailbox already has a live request") // the store is Exclusive
	ErrFull     = errors.New("mailbox is full")                    // it holds MaxPending

	// ErrStaleClaim: the request was never claimed, its lease has expired, or another claim followed.
	ErrStaleClaim = errors.New("request is not running at this attempt")
)

// BusyError is [ErrBusy] with the id of the request that is live.
type BusyError struct{ ID string }

func (e *BusyError) Error() string        { return fmt.Sprintf("%v: %s", ErrBusy, e.ID) }
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// EndedError is [ErrEnded] with the record as it ended.
type EndedError struct{ Record Record }

func (e *EndedError) Error() string        { return fmt.Sprintf("%v: %s", ErrEnded, e.Record.Status) }
func (e *EndedError) Is(target error) bool { return target == ErrEnded }

// CorruptError says that what is stored for a request is not a record that this version can read.
type CorruptError struct {
	ID  string
	Err error // what is wrong with it
}

func (e *CorruptError) Error() string { return fmt.Sprintf("stored record of %s: %v", e.ID, e.Err) }
func (e *CorruptError) Unwrap() error { return e.Err }

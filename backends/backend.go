// Package backends is the border between package pending, which knows payload types, codecs and
// policies, and a storage engine, which keeps untyped records. Whoever uses pendingq only picks a
// backend and hands it to pending.New; this package is for those who write one.
//
// A backend fills [Backend] and passes the suite of package backendtest with one line:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backends.Backend { return postgres.New(testDB(t)) })
//	}
//
// The comments here and that suite are the whole specification. What they pin for every method:
//
//   - Atomic. An operation happens wholly or not at all, and concurrent ones behave as if they came one after
//     the other, whichever process they come from.
//   - Repeatable. The library in between may send an operation again when its reply was lost, and so may the
//     caller, at once or after others have acted. The second run has no second effect.
//   - On the backend's clock, in whole microseconds, read once an operation. No caller's clock counts. A
//     request is live while now <= its deadline, and timed out from then on without anyone writing it: see
//     [Record.At].
//   - Isolated. A store and a mailbox share nothing with others, whatever characters their names have. The
//     backend keeps its own copy of each payload and hands out copies.
//   - Freed by itself. A record stays readable until its last deadline, or its end, plus Retention, and is
//     then gone without a sweep by the caller.
//
// Arguments arrive checked: a backend need not validate names, ids, sizes, limits or durations.
//
// Errors are the ones declared here, possibly wrapped, and the engine's own, also wrapped, for
// anything else. An error never carries a payload. After an engine's own error the caller cannot
// know whether the operation happened, and repeats it.
package backends

import (
	"context"
	"time"
)

// Backend is what a storage engine provides. All methods may be called concurrently. Each costs one
// round trip where the engine is remote, or a second one for a large answer. They return ctx's
// error when ctx has ended before they began.
type Backend interface {
	// Create stores a new pending record and puts it in its mailbox's queue. Its deadline is now
	// plus PendingTimeout.
	//
	// When the id is there already, Create changes nothing and returns that record as [Record.At]
	// shows it, whatever has become of it. Only for a new id does it refuse, in this order: with a
	// [BusyError] when the store is Exclusive and the mailbox has a live request, claimed, lapsed
	// or pending; with [ErrFull] when MaxPending requests, if it is not 0, could be claimed from
	// the mailbox now.
	//
	// Exclusive counts all live requests of the store's mailbox, also those that were created,
	// claimed or extended by terms that are not Exclusive. The BusyError names one of them.
	Create(ctx context.Context, c Create) (Record, error)

	// Get returns the record as [Record.At] shows it, or [ErrNotFound]. The clock and the record
	// are read at one instant, so that a timeout it reports can never be followed by another end.
	Get(ctx context.Context, store, id string) (Record, error)

	// HasPending reports whether a Claim could get a request from the mailbox now. It changes
	// nothing.
	HasPending(ctx context.Context, store, mailbox string) (bool, error)

	// Claim hands out up to Limit requests of each store in c.From, those that have been claimable
	// longest first: the one whose deadline comes first. Each becomes running, with the next
	// attempt, a deadline of now plus its RunningTimeout and UpdatedAt and StartedAt now. What
	// timed out is passed over in the same call. It returns one result for each element of c.From,
	// in that order.
	//
	// While a running request has attempts left its last deadline is its deadline plus
	// PendingTimeout: from its deadline on it can be claimed again. Otherwise its last deadline is
	// its deadline.
	//
	// A Claim that found something is remembered under c.ID until the latest deadline that it set.
	// The same ID again claims nothing more: it returns, whatever its limits, those of the
	// remembered requests that are still running at the attempt that it gave them. A Claim that
	// found nothing is not remembered.
	//
	// What one store holds never hinders the others: a queue that cannot be read, or a record in it
	// that cannot ([CorruptError]), is reported in that store's Claimed.Errs and passed over, not
	// removed.
	Claim(ctx context.Context, c Claim) ([]Claimed, error)

	// Extend moves the deadline of a request that is running at e.Attempt to now plus
	// RunningTimeout, its last deadline and its Exclusive hold along with it, and sets UpdatedAt.
	// It refuses with [ErrNotFound]; an [EndedError] when the request has ended or is past its last
	// deadline; [ErrStaleClaim] when it is pending, has lapsed, or runs at another attempt.
	Extend(ctx context.Context, e Extend) error

	// End ends a live request, takes it out of its queue and returns the time of its end, its new
	// UpdatedAt. It stores Outcome as the status, Error, and, but for GiveUp, Codec and Payload. It
	// refuses with [ErrNotFound]; an [EndedError] with the whole record when the request has ended
	// or timed out, from which the caller tells its own repeat; [ErrStaleClaim] when, but for
	// GiveUp, the stored attempt is not e.Attempt. A lapsed request that nobody has claimed again
	// still has its attempt and may be ended.
	//
	// An engine that is out of memory refuses Create but should still be able to Claim and End.
	End(ctx context.Context, e End) (time.Time, error)
}

// Waker is what a Backend also implements if it can say when to look again. Without it waiters
// poll.
//
// A signal only means that looking may be worth it: it may come for nothing, several may be one,
// and one that is lost costs no more than the time until the next poll.
type Waker interface {
	// WatchMailbox signals when a request to the mailbox may have become claimable, in any store.
	// It returns once nothing that happens from then on goes unnoticed. Where that cannot be had at
	// once, as when a server is away, it may return earlier, and signals when it can be had again.
	// Stop is called once, to end it.
	WatchMailbox(ctx context.Context, mailbox string) (signal <-chan struct{}, stop func())

	// WatchRequest does the same for the end of a request. Its timeout is nothing that happens: it
	// gives no signal.
	WatchRequest(ctx context.Context, id string) (signal <-chan struct{}, stop func())

	// PollInterval is how long a waiter may trust silence before it looks again. 0 means for ever.
	PollInterval() time.Duration
}

// ManyClaimer is what a Backend also implements if it can make many claims in fewer round trips
// than one each.
type ManyClaimer interface {
	// ClaimMany makes each claim as Claim does, every one atomic by itself. It returns one result
	// for each, in their order. That one of them fails does not keep the others from being made.
	ClaimMany(ctx context.Context, claims []Claim) []ClaimResult
}

// ClaimResult is what Claim returns.
type ClaimResult struct {
	Claimed []Claimed
	Err     error
}

// Terms is what a store's policy asks of the backend. Durations are whole microseconds. Callers
// with different terms may share a store, as while a new policy is rolled out: terms act on the
// operation that carries them, and deadlines once set stand.
type Terms struct {
	Store          string        // 1 to 64 of [a-z0-9_:.-]
	PendingTimeout time.Duration // how long a request may stay unclaimed
	RunningTimeout time.Duration // how long a claim may stay silent
	Retention      time.Duration // how long a record outlives its end or its last deadline
	MaxAttempts    int           // how often a request may be claimed, 1 to 9,999
	Exclusive      bool          // one live request a mailbox
	MaxPending     int           // how many claimable requests a mailbox holds; 0: no limit
}

// Create is a new request.
type Create struct {
	Terms
	ID      string // from [NewID] or [DeriveID] for the same mailbox
	Mailbox string // 1 to 512 bytes of UTF-8
	Codec   string // names what Payload is encoded with, 1 to 32 bytes
	Payload []byte
}

// Claim is a poll of one mailbox.
type Claim struct {
	ID      string // stands for this mailbox and these stores alone; a repeat has the same one
	Mailbox string
	From    []From // at least one; no store twice
}

// From is one store of a Claim.
type From struct {
	Terms
	Limit int // 1 to 100
}

// Claimed is what a Claim got from one store.
type Claimed struct {
	Records []Record // running; the longest claimable first
	Errs    []error  // why the store, or single records of it, had to be passed over; none is the rule
}

// Extend is a worker's sign of life.
type Extend struct {
	Terms
	ID      string
	Attempt int

	// Mailbox is the request's, or "" if the caller does not know it. It helps an engine that wants
	// to know all that an operation touches before it begins; no result depends on it.
	Mailbox string
}

// End is the last word on a request.
type End struct {
	Terms
	ID      string
	Outcome string // an ended status
	Error   string // what went wrong, for people; at most 16 KiB
	Attempt int    // the claim that speaks; 0 before any
	Codec   string
	Payload []byte

	// Mailbox is the request's, or "" if the caller does not know it. It helps an engine that
	// stores large answers in another way; no result depends on it.
	Mailbox string

	// GiveUp ends the request whatever its attempt, and keeps the stored payload: Attempt, Codec
	// and Payload are ignored.
	GiveUp bool
}

// Package backends is the border between package pending and a storage engine. Package pending
// knows payload types, codecs and policies. A storage engine keeps untyped records. Users of
// pendingq only pick a backend and hand it to pending.New. This package is for authors of backends.
//
// A backend fills [Backend] and passes the suite of package backendtest with one line:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backends.Backend { return postgres.New(testDB(t)) })
//	}
//
// The comments here and that suite are the whole specification.
//
// # What holds for every method
//
//   - Atomic. An operation happens wholly or not at all. Concurrent operations behave as if they
//     came one after the other, whichever processes they come from. A Claim from several stores
//     may be one operation for each store.
//   - Repeatable. A caller, or a client library in between, may send an operation again when its
//     reply was lost, at once or after others have acted. The second run has no second effect.
//   - On the backend's clock, in whole microseconds. An operation reads it once: no later than what
//     it reads of its records, and, if it writes, while it holds what it changes. No caller's clock
//     counts. A request is live while now <= its deadline. Past it, the request reads as
//     [Record.At] says, and nobody writes that.
//   - Isolated. Stores and mailboxes share nothing, whatever characters their names have.
//     Mailboxes, errors and headers may contain NUL. A backend keeps its own copy of each payload
//     and map, and hands out copies.
//   - Freed by itself. A record stays readable until its last deadline, or its end, plus Retention.
//     Then it disappears without help from the caller.
//
// Arguments are valid: a backend need not check names, ids, sizes, limits or durations.
//
// A method returns ctx's error if ctx has ended before it began. Otherwise errors are those of this
// package, possibly wrapped, or the engine's own, wrapped. An error never carries a payload. After
// an engine's own error the caller cannot know whether the operation happened, and sends it again.
//
// # Decorators
//
// A type that wraps a Backend has a method Unwrap that returns it. Then [As] finds the optional
// interfaces of the wrapped Backend.
package backends

import (
	"context"
	"time"
)

// Backend is what a storage engine provides. All methods may be called concurrently. Each costs one
// round trip if the engine is remote, or a second one for a large payload.
type Backend interface {
	// Create stores a new pending record and puts it in the queue of its mailbox. Its deadline is
	// now plus PendingTimeout.
	//
	// If the id exists, Create changes nothing. It returns that record as [Record.At] shows it,
	// whatever has become of it. Only a new id can be refused, in this order: with a [BusyError] if
	// the store is Exclusive and the mailbox has a live request; with [ErrFull] if MaxPending is
	// not 0 and that many requests of the mailbox could be claimed now.
	//
	// Exclusive counts all live requests of the store's mailbox, also those that were created,
	// claimed or extended by terms that are not Exclusive. The BusyError names one of them.
	Create(ctx context.Context, c Create) (Record, error)

	// Get returns the record as [Record.At] shows it, or [ErrNotFound]. The clock and the record
	// are read at one instant, so no other ending can follow a timeout that Get reports.
	Get(ctx context.Context, store, id string) (Record, error)

	// HasPending reports whether a Claim could get a request from the mailbox now. It only reads.
	HasPending(ctx context.Context, store, mailbox string) (bool, error)

	// Claim hands out up to Limit requests of each store in c.From. Those come first whose
	// LastDeadline is the earliest; equal ones come in any order. Each becomes running, with the
	// next attempt, a deadline of now plus RunningTimeout, and UpdatedAt and StartedAt now.
	// Requests that have timed out are passed over in the same call. Claim returns one result for
	// each element of c.From, in that order.
	//
	// If the new attempt is below MaxAttempts of the claimer, the last deadline is the deadline
	// plus PendingTimeout: after its deadline the request can be claimed again. Otherwise the last
	// deadline is the deadline. A later claimer's MaxAttempts does not change that.
	//
	// A Claim that found something is remembered under c.ID until the latest deadline that it set.
	// The same ID again claims nothing more. It returns the remembered requests that still run at
	// the attempt of that Claim, whatever its limits and in any order. A Claim that found nothing
	// is not remembered.
	//
	// A damaged store never hinders the others. A queue that cannot be read, and a record that
	// cannot ([CorruptError]), go into that store's Claimed.Errs. They are passed over, not
	// removed.
	Claim(ctx context.Context, c Claim) ([]Claimed, error)

	// Extend renews the lease of the request that runs at e.Attempt: its deadline becomes now plus
	// RunningTimeout, its last deadline follows from MaxAttempts as for a Claim, and UpdatedAt is
	// now. If a cancel was noted, both deadlines stay, also at a release. If e.Codec is not "",
	// Extend also stores Codec and Payload. A repeat does the same again. So a worker sends one
	// Extend after the other: the late repeat of an earlier one would bring earlier progress back.
	//
	// If e.Release is set, Extend hands the request back instead: it is claimable once e.After has
	// passed, or at once for 0. Its deadline becomes now plus After minus a microsecond. A lease
	// that has expired may be released, too, unless a later claim has followed.
	//
	// Extend returns [ErrNotFound]; an [EndedError] if the request has ended or is past its last
	// deadline; [ErrStaleClaim] if it was never claimed, runs at another attempt, or, unless
	// e.Release is set, its lease has expired.
	Extend(ctx context.Context, e Extend) (Lease, error)

	// Cancel ends a live request on behalf of its requester, whatever its attempt. It stores
	// Outcome and Error, and keeps the payload. It takes the request out of its queue.
	//
	// But if the request runs, its lease has not expired and c.Grace is not 0, Cancel only notes
	// Outcome and Error, and leaves Grace to the worker: the deadline becomes now plus Grace if
	// that is earlier, and the last deadline equals it. The request still runs at its attempt. If
	// nobody ends it before, it reads as Outcome from then on. If an outcome is noted already, such
	// a Cancel changes nothing.
	//
	// Cancel returns the record as it stands afterwards, without Codec and Payload. It returns
	// [ErrNotFound], or an [EndedError] with the whole record if the request has ended.
	Cancel(ctx context.Context, c Cancel) (Record, error)

	// End ends a live request on behalf of its worker. It stores Outcome as the status, Error,
	// Codec and Payload, takes the request out of its queue, and forgets a cancel that was noted.
	// The record's deadlines stay as they were. End returns the record as it ended, without Codec
	// and Payload.
	//
	// End returns [ErrNotFound]; an [EndedError] with the whole record if the request has ended or
	// timed out, from which the caller recognises its own repeat; [ErrStaleClaim] if the latest
	// attempt is not e.Attempt. A request whose lease has expired, and that nobody has claimed
	// again, still has its attempt and may be ended.
	//
	// An engine that is out of memory refuses Create but should still be able to Claim and End.
	End(ctx context.Context, e End) (Record, error)
}

// Waker is optional: a Backend implements it if it can signal changes. Without it waiters poll.
//
// A signal only means that looking may be worth it. It may come for nothing, and several may be
// one. A lost signal costs no more than the time until the next poll.
type Waker interface {
	// WatchMailbox signals when a request of the mailbox may have become claimable, in any store.
	// It returns when no later change can go unnoticed. If that takes long, as when a server is
	// away, it may return earlier, and signals when changes are noticed again. The caller calls
	// stop once.
	WatchMailbox(ctx context.Context, mailbox string) (signal <-chan struct{}, stop func())

	// WatchRequest does the same for changes of a request: an Extend that stores a payload or
	// releases, a Cancel and an end. A claim may send a signal. A timeout and an expired lease send
	// none.
	WatchRequest(ctx context.Context, id string) (signal <-chan struct{}, stop func())

	// PollInterval is how long a waiter may trust silence before it looks again. 0 means for ever.
	PollInterval() time.Duration
}

// ManyClaimer is optional: a Backend implements it if it can make many claims in fewer round trips
// than one each.
type ManyClaimer interface {
	// ClaimMany makes each claim as Claim does, each atomic by itself. It returns one result for
	// each, in their order. A claim that fails does not keep the others from being made.
	ClaimMany(ctx context.Context, claims []Claim) []ClaimResult
}

// ClaimResult is what Claim returns.
type ClaimResult struct {
	Claimed []Claimed
	Err     error
}

// Lister is optional: a Backend implements it if it can list live requests, for people who want to
// see what is going on. A page is bounded work. What changes while somebody lists may come twice or
// not at all. What stays as it is comes once.
type Lister interface {
	// List returns live requests of a mailbox as [Record.At] shows them, at most limit, 1 to 100.
	// After is "" or the Next of the page before. A page may have fewer requests although others
	// follow.
	List(ctx context.Context, store, mailbox, after string, limit int) (Page, error)

	// Mailboxes returns mailboxes of a store that have live requests, or had some a while ago,
	// about limit of them, 1 to 1,000. After is "" or the Next of the page before. A page may be
	// empty although others follow, and a mailbox may come twice.
	Mailboxes(ctx context.Context, store, after string, limit int) (MailboxPage, error)
}

// Page is a page of live requests.
type Page struct {
	Records []Record
	Errs    []error // a CorruptError for each record that cannot be read
	Next    string  // where the next page begins; "" if this is the last one
}

// MailboxPage is a page of names of mailboxes.
type MailboxPage struct {
	Mailboxes []string
	Next      string // where the next page begins; "" if this is the last one
}

// As returns the optional interface I of a Backend, such as [Waker]. If b does not implement it, As
// asks what b's Unwrap returns, and so on.
func As[I any](b Backend) (implemented I, ok bool) {
	for b != nil {
		if implemented, ok = b.(I); ok {
			return implemented, true
		}
		wrapper, isWrapper := b.(interface{ Unwrap() Backend })
		if !isWrapper {
			break
		}
		b = wrapper.Unwrap()
	}
	return implemented, false
}

// Terms is what a store's policy asks of the backend. Durations are whole microseconds. Callers
// with different terms may share a store, as while a new policy is rolled out. Terms act on the
// operation that carries them. A deadline, once set, changes only by an Extend or a Cancel.
type Terms struct {
	Store          string        // 1 to 64 of [a-z0-9_:.-]
	PendingTimeout time.Duration // how long a request may stay unclaimed
	RunningTimeout time.Duration // how long a lease lasts
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

	// Headers travel with the request, whatever becomes of it: UTF-8, at most 4 KiB together. A
	// request without headers uses no space for them.
	Headers map[string]string
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
	Errs    []error  // why the store, or some of its records, had to be passed over; usually none
}

// Extend is a worker's sign of life.
type Extend struct {
	Terms
	ID      string
	Attempt int    // the claim that speaks
	Mailbox string // a hint: see End

	Codec   string // "" keeps the stored payload
	Payload []byte // the worker's progress

	Release bool          // hands the request back
	After   time.Duration // when a released request is claimable again, from now
}

// Lease is a claim as an Extend left it.
type Lease struct {
	UpdatedAt    time.Time // now
	Deadline     time.Time
	CancelledAs  string // the outcome that a Cancel has noted; "" if there was none
	CancelReason string // the error that it has noted
}

// Cancel is the last word of a requester.
type Cancel struct {
	Terms
	ID      string
	Mailbox string        // a hint: see End
	Outcome string        // an ended status
	Error   string        // why, for people; at most 16 KiB
	Grace   time.Duration // how long a running worker may still answer; 0: not at all
}

// End is the last word of a worker.
type End struct {
	Terms
	ID      string
	Outcome string // an ended status
	Error   string // what went wrong, for people; at most 16 KiB
	Attempt int    // the claim that speaks; 0 before any
	Codec   string
	Payload []byte

	// Mailbox is the request's, or "" if the caller does not know it. It is a hint for engines that
	// must know all keys of an operation before it begins. No result depends on it.
	Mailbox string
}

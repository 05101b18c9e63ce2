// Package backends is the interface between package pending and a storage engine. Package pending
// knows payload types, codecs and policies. A storage engine keeps untyped records. Users of
// pendingq only choose a backend and pass it to pending.New. This package is for authors of
// backends.
//
// A backend implements [Backend] and passes the suite of package backendtest with one line:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backends.Backend { return newBackend(t) })
//	}
//
// The comments here and the suite are the whole specification. Package backendtest also has
// random tests and tests with concurrent callers.
//
// # What holds for every method
//
//   - Atomic. An operation happens wholly or not at all. Concurrent operations of all processes
//     behave as if they came one after the other. A Claim from several stores may be one operation
//     for each store.
//   - Repeatable. If a reply was lost, a caller or a client library may send the operation again,
//     at once or after other operations. The repeat has no second effect.
//   - On the backend's clock, in whole microseconds. No caller's clock counts. An operation reads
//     the clock once, before it reads its records or at the same instant. A writing operation locks
//     its records. Then it reads the clock. A request is live while now <= its deadline. After the
//     deadline it reads as [Record.At] says. No operation writes that change.
//   - Isolated. Stores and mailboxes share nothing, whatever characters their names have.
//     Mailboxes, errors and headers may contain NUL. A backend keeps its own copy of each payload
//     and map, and returns copies.
//   - Freed automatically. An ended record stays readable until Retention after its end. Any other
//     record stays readable until Retention after its last deadline. Then it disappears without a
//     call.
//
// Arguments are valid. A backend need not check names, ids, sizes, limits or durations.
//
// If ctx ended before the call, a method returns the error of ctx. All other errors are errors of
// this package, wrapped or not, or wrapped errors of the engine. An error never contains a payload.
// After an engine's error the caller cannot know whether the operation happened, and repeats it.
//
// # Decorators
//
// A type that wraps a Backend has a method Unwrap that returns the wrapped Backend. Then [As] finds
// the optional interfaces of the wrapped Backend.
package backends

import (
	"context"
	"time"
)

// Backend is the interface of a storage engine. All methods may be called concurrently. A call to a
// remote engine should cost one round trip. Large payloads may cost further ones.
type Backend interface {
	// Create stores a new pending record and puts it in the queue of its mailbox. Its deadline is
	// now plus PendingTimeout.
	//
	// If the id exists, Create changes nothing. It returns the existing record as [Record.At] shows
	// it, in any status. Create refuses only a new id, in this order: with a [BusyError] if the
	// store is Exclusive and the mailbox has a live request; with [ErrFull] if MaxPending is not 0
	// and that many requests of the mailbox are claimable now.
	//
	// Exclusive counts all live requests of the store's mailbox, also requests that were created,
	// claimed or extended by terms without Exclusive. The BusyError names one of these requests.
	Create(ctx context.Context, c Create) (Record, error)

	// Get returns the record as [Record.At] shows it, or [ErrNotFound]. It reads the clock and the
	// record at one instant, so no other ending can follow a timeout that Get reports.
	Get(ctx context.Context, store, id string) (Record, error)

	// HasPending reports whether a Claim would get a request from the mailbox now. It only reads.
	HasPending(ctx context.Context, store, mailbox string) (bool, error)

	// Claim hands out up to Limit requests of each store in c.From. It takes the requests with the
	// earliest LastDeadline first. Requests with equal deadlines come in any order. Each becomes
	// running, with the next attempt, a deadline of now plus RunningTimeout, and UpdatedAt and
	// StartedAt now. Claim skips requests that have timed out, and takes the next ones in the same
	// call. Claim returns one result for each element of c.From, in the same order.
	//
	// If the new attempt is below the claim's MaxAttempts, the last deadline is the deadline plus
	// PendingTimeout: after its deadline the request can be claimed again. Otherwise the last
	// deadline is the deadline. Whether a request can be claimed depends only on its deadlines. So
	// a later claim with a lower MaxAttempts gets it, too.
	//
	// If a Claim got requests, the backend remembers it under c.ID until the latest deadline that
	// it set. A repeat with the same ID claims nothing more. It returns the remembered requests
	// that still run at the attempt of the first Claim, whatever the repeat's limits, in any order.
	// A Claim that got nothing is not remembered.
	//
	// A damaged store never affects the others. An unreadable queue adds an error to the store's
	// Claimed.Errs. An unreadable record adds a [CorruptError]. Claim skips both, and does not
	// remove them.
	Claim(ctx context.Context, c Claim) ([]Claimed, error)

	// Extend renews the lease of the request that runs under the worker's claim: see
	// [Record.HasClaim] for e.Attempt and e.StartedAt. The deadline becomes now plus
	// RunningTimeout, the last deadline follows from MaxAttempts as for a Claim, and UpdatedAt is
	// now. If e.Codec is not "", Extend also stores Codec and Payload. A repeat does the same
	// again, so a late repeat would restore earlier progress. Therefore a worker sends its Extends
	// one after the other.
	//
	// If e.Release is set, Extend releases the request instead of renewing its lease. The deadline
	// becomes now plus e.After minus a microsecond, since a lease is live at its deadline. If
	// another attempt is left, the request is claimable once e.After has passed, or at once for 0.
	// Otherwise it times out then. Until then it reads as running. An expired lease may also be
	// released, unless a later claim has followed.
	//
	// If a cancel was noted, Extend changes neither deadline, with or without e.Release.
	//
	// Extend returns [ErrNotFound]; an [EndedError] if the request has ended or is past its last
	// deadline; [ErrStaleClaim] if the request was never claimed, if its latest claim is not the
	// worker's, or if its lease has expired and e.Release is not set.
	Extend(ctx context.Context, e Extend) (Lease, error)

	// Cancel ends a live request on behalf of its requester, whatever its attempt. It stores
	// Outcome and Error, and keeps the payload. It takes the request out of its queue.
	//
	// If the request runs, its lease has not expired and c.Grace is not 0, Cancel only notes
	// Outcome and Error, and leaves Grace to the worker. The deadline becomes now plus Grace if
	// that is earlier, and the last deadline equals the deadline. The request still runs at its
	// attempt. Unless a call ends the request first, it reads as ended with Outcome after the
	// deadline. If a cancel is noted already, another Cancel with a grace changes nothing.
	//
	// Cancel returns the changed record, without Codec and Payload. It returns [ErrNotFound], or an
	// [EndedError] with the whole record if the request has ended.
	Cancel(ctx context.Context, c Cancel) (Record, error)

	// End ends a live request on behalf of its worker. It stores Outcome as the status, Error,
	// Codec and Payload, takes the request out of its queue, and forgets a noted cancel. The
	// record keeps its deadlines. End returns the ended record, without Codec and Payload.
	//
	// End returns [ErrNotFound]; an [EndedError] with the whole record if the request has ended or
	// timed out; [ErrStaleClaim] if [Record.HasClaim] is false for e.Attempt and e.StartedAt. The
	// record in an EndedError lets the caller recognise its own repeat. Until the next claim, a
	// request with an expired lease still has its claim and may be ended.
	//
	// An engine that is out of memory refuses Create, but should still allow Claim and End.
	End(ctx context.Context, e End) (Record, error)
}

// Waker is optional: a Backend implements it if it can signal changes. Without it waiters poll.
//
// A signal only means that something may have changed. It may come without a change, and several
// changes may give one signal. A lost signal delays a waiter until its next poll at most.
type Waker interface {
	// WatchMailbox signals when a request of the mailbox may have become claimable, in any store.
	// Each change after its return gives a signal. If it takes long to begin, for example because a
	// server is down, it may return earlier. Then it sends one signal as soon as it notices changes
	// again. The caller calls stop once.
	WatchMailbox(ctx context.Context, mailbox string) (signal <-chan struct{}, stop func())

	// WatchRequest does the same for changes of a request: an Extend that stores a payload or
	// releases, a Cancel and an End. A Claim may send a signal. A timeout and an expired lease send
	// no signal to watchers of the request.
	WatchRequest(ctx context.Context, id string) (signal <-chan struct{}, stop func())

	// PollInterval is how long a waiter may wait for a signal before it polls. A waiter asks before
	// each wait, so the interval may change. 0: it never polls. Then no signal may be lost. A Claim
	// must signal the watchers of its request. An expired lease must signal the watchers of its
	// mailbox.
	PollInterval() time.Duration
}

// ManyClaimer is optional: a Backend implements it if many claims need fewer round trips together
// than one by one.
type ManyClaimer interface {
	// ClaimMany makes each claim as Claim does. Each claim is atomic by itself. ClaimMany returns
	// one result for each claim, in the same order. A claim that fails does not prevent the others.
	ClaimMany(ctx context.Context, claims []Claim) []ClaimResult
}

// ClaimResult is what Claim returns.
type ClaimResult struct {
	Claimed []Claimed
	Err     error
}

// ClaimMany makes several claims with the ClaimMany of b, or one by one if b is no [ManyClaimer].
func ClaimMany(ctx context.Context, b Backend, claims []Claim) []ClaimResult {
	if many, ok := As[ManyClaimer](b); ok && len(claims) > 1 {
		return many.ClaimMany(ctx, claims)
	}
	results := make([]ClaimResult, len(claims))
	for i, c := range claims {
		results[i].Claimed, results[i].Err = b.Claim(ctx, c)
	}
	return results
}

// Lister is optional: a Backend implements it if it can list live requests, for dashboards and
// operators. On a shared server a page is bounded work. During a listing, a request that changes or
// whose lease has expired may come twice or not at all. Any other request comes once.
type Lister interface {
	// List returns at most limit live requests of a mailbox, as [Record.At] shows them. Limit is 1
	// to 100. After is "" or the Next of the previous page. For another After it may return
	// ErrInvalid of package pending. A page may have fewer requests although more follow.
	List(ctx context.Context, store, mailbox, after string, limit int) (Page, error)

	// Mailboxes returns mailboxes of a store that have, or recently had, live requests. Limit is 1
	// to 1,000, and only a hint: a page may have fewer mailboxes or more. After is "" or the Next
	// of the previous page. A page may be empty although more follow. A mailbox may come twice.
	Mailboxes(ctx context.Context, store, after string, limit int) (MailboxPage, error)
}

// Page is a page of live requests.
type Page struct {
	Records []Record
	Errs    []error // a CorruptError for each unreadable record
	Next    string  // where the next page begins; "" on the last page
}

// MailboxPage is a page of names of mailboxes.
type MailboxPage struct {
	Mailboxes []string
	Next      string // where the next page begins; "" on the last page
}

// As returns the optional interface I of a Backend, such as [Waker]. If b does not implement I, As
// looks at the Backend that b's Unwrap returns, and so on.
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

// Terms are the part of a store's policy that a backend applies. Durations are whole microseconds.
// Callers with different terms may share a store, for example while a new policy is rolled out.
// Terms apply only to the operation that carries them. The deadlines of a request stay until a
// later Claim, Extend or Cancel changes them.
type Terms struct {
	Store          string        // 1 to 64 of [a-z0-9_:.-]
	PendingTimeout time.Duration // how long a request may stay unclaimed
	RunningTimeout time.Duration // how long a lease lasts
	Retention      time.Duration // how long a record outlives its end or its last deadline
	MaxAttempts    int           // how many times a request may be claimed, 1 to 9,999
	Exclusive      bool          // a mailbox has at most one live request
	MaxPending     int           // how many claimable requests a mailbox may have; 0: no limit
}

// Create is a new request.
type Create struct {
	Terms
	ID      string // from [NewID] or [DeriveID], for the same mailbox
	Mailbox string // 1 to 512 bytes of UTF-8
	Codec   string // the name of Payload's encoding, 1 to 32 bytes
	Payload []byte

	// Headers stay with the request in every status. They are UTF-8, at most 4 KiB in total. A
	// request without headers uses no space for headers.
	Headers map[string]string
}

// Claim is a poll of one mailbox.
type Claim struct {
	ID      string // unique to this mailbox and these stores; a repeat has the same ID
	Mailbox string
	From    []From // at least one store, each store once
}

// From is one store of a Claim.
type From struct {
	Terms
	Limit int // 1 to 100
}

// Claimed is the result of a Claim from one store.
type Claimed struct {
	Records []Record // running requests, in the order in which Claim takes them
	Errs    []error  // why Claim skipped the store or some of its records; usually none
}

// Extend renews a worker's lease, or releases its request.
type Extend struct {
	Terms
	ID      string
	Attempt int    // the worker's attempt
	Mailbox string // a hint: see End.Mailbox

	// StartedAt is the StartedAt of the worker's claim, or zero if the caller does not know it. See
	// End.StartedAt.
	StartedAt time.Time

	Codec   string // "" keeps the stored payload
	Payload []byte // the worker's progress

	Release bool          // releases the request
	After   time.Duration // how long until a released request is claimable again
}

// Lease is the lease after an Extend.
type Lease struct {
	UpdatedAt    time.Time // now
	Deadline     time.Time
	CancelledAs  string // the outcome of a noted cancel; "" if no cancel was noted
	CancelReason string // the error of a noted cancel
}

// Cancel ends a request on behalf of its requester.
type Cancel struct {
	Terms
	ID      string
	Mailbox string        // a hint: see End.Mailbox
	Outcome string        // an ended status
	Error   string        // the reason, for people; at most 16 KiB
	Grace   time.Duration // how long a worker may still answer; 0 ends the request at once
}

// End ends a request on behalf of its worker.
type End struct {
	Terms
	ID      string
	Outcome string // an ended status
	Error   string // what went wrong, for people; at most 16 KiB
	Attempt int    // the worker's attempt; 0 before the first claim
	Codec   string
	Payload []byte

	// StartedAt is the StartedAt of the worker's claim, or zero if the caller does not know it. An
	// id may be used again once its record has disappeared. Then the attempts begin again, and only
	// StartedAt tells a late report about the earlier request from a report about the new one.
	StartedAt time.Time

	// Mailbox is the request's mailbox, or "" if the caller does not know it. It is a hint for
	// engines that need all keys of an operation before it begins. The hint may be wrong, so
	// no result may depend on it.
	Mailbox string
}

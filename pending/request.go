package pending

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
)

// Status is the state of a request.
type Status string

// The statuses of every store. A policy may declare further statuses for ended requests.
const (
	StatusPending   Status = backends.StatusPending   // waits for its first or its next claim
	StatusRunning   Status = backends.StatusRunning   // a worker has claimed it
	StatusCompleted Status = backends.StatusCompleted // a worker has answered it: see Complete
	StatusFailed    Status = backends.StatusFailed    // a worker has failed it: see Fail
	StatusTimeout   Status = backends.StatusTimeout   // a deadline has passed, or see Timeout
	StatusCancelled Status = backends.StatusCancelled // the requester cancelled it: see Cancel
)

// Ended reports whether a request with this status never changes again.
func (s Status) Ended() bool { return s != StatusPending && s != StatusRunning && s != "" }

// Request is the requester's view of a request, as of its last read. Only a [Claim] can end a
// request as its worker. Times are by the backend's clock, in UTC and whole microseconds.
type Request[T any] struct {
	ID      string // 30 letters and digits, safe in a URL
	Mailbox string // names the machine that the request is for
	Status  Status
	Attempt int    // the number of the latest claim, 1 for the first; 0 before any claim
	Payload T      // the question, and later the progress or the answer
	Error   string // why it failed, timed out or was cancelled, for people

	Headers map[string]string // see WithHeaders; nil or empty if there are none

	// CancelRequested is true if the request is cancelled, or if it still runs after a Cancel that
	// left its worker a grace. CancelReason is the reason.
	CancelRequested bool
	CancelReason    string

	CreatedAt time.Time
	UpdatedAt time.Time // the last change of Status, or the last Extend or Cancel while it runs
	StartedAt time.Time // the latest claim; zero before any claim
	Deadline  time.Time // when a live request times out, or when a lease with attempts left expires
}

// LogValue implements [slog.LogValuer]: ids, status and attempt, never the payload.
func (r Request[T]) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", r.ID), slog.String("mailbox", r.Mailbox),
		slog.String("status", string(r.Status)), slog.Int("attempt", r.Attempt))
}

// CreateOption configures one Create.
type CreateOption func(*createOptions)

type createOptions struct {
	key     string
	hasKey  bool
	headers map[string]string
}

// WithIdempotencyKey lets the caller retry a Create. As long as the first request is stored, a
// Create with the same key, store and mailbox returns that request, in any status, and ignores its
// own payload. A key has 1 to 512 bytes. Without a key each Create makes a new request. After
// Retention the key makes a new request with the same ID. Earlier claims cannot change it, but a
// Cancel or Timeout of the earlier request can, and so can reports with only an ID and an Attempt:
// see [PendingStore.Held]. So choose a Retention after which nobody acts on the earlier request.
func WithIdempotencyKey(key string) CreateOption {
	return func(o *createOptions) { o.key, o.hasKey = key, true }
}

// WithHeaders stores small strings with a request, such as a trace context. They never change.
// Names and values are UTF-8 and have at most 4 KiB together.
func WithHeaders(headers map[string]string) CreateOption {
	return func(o *createOptions) { o.headers = headers }
}

// Create stores a new pending request for a mailbox, 1 to 512 bytes of UTF-8, and returns it. It
// returns a [BusyError] if the store is Exclusive and the mailbox has a live request. Its other
// errors are [ErrFull], [ErrTooLarge] and [ErrInvalid].
func (s *PendingStore[T]) Create(ctx context.Context, mailbox string, payload T,
	opts ...CreateOption) (r *Request[T], err error) {
	defer s.wrap(&err, "create", mailbox)
	o := collect[createOptions](opts)
	err = cmp.Or(check.Mailbox(mailbox), check.Headers(o.headers))
	if _, unnamed := o.headers[""]; unnamed {
		err = cmp.Or(err, check.Invalid(`header "" has no name`))
	}
	id := backends.NewID(mailbox)
	if o.hasKey {
		err = cmp.Or(err, check.Range("the idempotency key's length", len(o.key), 1, check.MaxName))
		id = backends.DeriveID(s.policy.Name, mailbox, o.key)
	}
	encoded, encodeErr := s.encode(payload, id, mailbox, codec.Question)
	if err = cmp.Or(err, encodeErr); err != nil {
		return nil, err
	}
	rec, err := s.backend.Create(ctx, backends.Create{Terms: s.terms, ID: id, Mailbox: mailbox,
		Codec: s.codec.Name(), Payload: encoded, Headers: o.headers})
	if err == nil && rec.Mailbox != mailbox {
		err = check.Invalid("the idempotency key gives the id of a request of another mailbox")
	}
	return s.request(rec, err)
}

// GetOption configures one Get.
type GetOption func(*getOptions)

type getOptions struct {
	mailbox   string
	inMailbox bool
}

// InMailbox makes a Get return [ErrNotFound] for a request of another mailbox. Use it for a caller
// that may see only this mailbox.
func InMailbox(mailbox string) GetOption {
	return func(o *getOptions) { o.mailbox, o.inMailbox = mailbox, true }
}

// Get reads a request. It returns [ErrNotFound] if there is no such request, and [ErrInvalid] if
// the id is malformed. With a [DecodeError] it may return the request without its payload.
func (s *PendingStore[T]) Get(
	ctx context.Context, id string, opts ...GetOption) (r *Request[T], err error) {
	defer s.wrap(&err, "get", id)
	return s.request(s.get(ctx, id, opts))
}

func (s *PendingStore[T]) get(
	ctx context.Context, id string, opts []GetOption) (rec backends.Record, err error) {
	o := collect[getOptions](opts)
	err = check.ID(id)
	if err == nil {
		rec, err = s.backend.Get(ctx, s.policy.Name, id)
	}
	if err == nil && o.inMailbox && rec.Mailbox != o.mailbox {
		err = ErrNotFound
	}
	return rec, err
}

// HasPending reports whether the mailbox has a request that can be claimed now. It only reads.
func (s *PendingStore[T]) HasPending(ctx context.Context, mailbox string) (has bool, err error) {
	defer s.wrap(&err, "check for requests of", mailbox)
	if err := check.Mailbox(mailbox); err != nil {
		return false, err
	}
	return s.backend.HasPending(ctx, s.policy.Name, mailbox)
}

// ListOptions select a page of live requests. The zero value selects the first page.
type ListOptions struct {
	After string // Page.Next of the previous page; "": the first page
	Limit int    // how many requests at most, 1 to 100. Default: 100
}

// Page is a page of live requests.
type Page[T any] struct {
	Requests []*Request[T] // the oldest first
	Next     string        // ListOptions.After for the next page; "" after the last page
}

// List returns a page of the pending and running requests of a mailbox, the oldest first within the
// page. A page may have fewer requests than the limit although more pages follow. A request that
// changes between two pages may be in both pages or in none.
//
// List may return a page and an error, which joins a [DecodeError] for each unreadable request. It
// returns [errors.ErrUnsupported] if the backend cannot list.
func (s *PendingStore[T]) List(
	ctx context.Context, mailbox string, opts ListOptions) (*Page[T], error) {
	limit := cmp.Or(opts.Limit, check.MaxLimit)
	err := cmp.Or(check.Mailbox(mailbox), check.Range("the limit", limit, 1, check.MaxLimit))
	lister, ok := backends.As[backends.Lister](s.backend)
	if !ok {
		err = fmt.Errorf("%w: the backend (%T) has no List", errors.ErrUnsupported, s.backend)
	}
	var listed backends.Page
	if err == nil {
		listed, err = lister.List(ctx, s.policy.Name, mailbox, opts.After, limit)
	}
	if err != nil {
		return nil, s.failed("list", mailbox, err)
	}
	page := &Page[T]{Next: listed.Next}
	claims, err := s.claims(backends.Claimed{Records: listed.Records, Errs: listed.Errs})
	for _, c := range claims {
		page.Requests = append(page.Requests, &c.Request)
	}
	byAge := func(x, y *Request[T]) int { return x.CreatedAt.Compare(y.CreatedAt) }
	slices.SortStableFunc(page.Requests, byAge)
	return page, err
}

// Cancel cancels a live request. The reason is for people; "" selects a standard text. A pending
// request ends at once as cancelled. So does a running request if the policy's CancelGrace is 0.
// Otherwise its worker learns of the cancel at its next Extend, and may end the request until the
// grace is over or the lease expires. Then the request reads as cancelled. No attempt follows.
//
// Cancel needs only r.ID. It does not check r.Mailbox: if a caller may see only one mailbox, Get r
// with [InMailbox] first. On success Cancel updates r, except its Payload. During the grace r is
// running and CancelRequested. A second Cancel succeeds and changes nothing. If the request has
// ended in another way, Cancel returns [ErrEnded].
func (s *PendingStore[T]) Cancel(ctx context.Context, r *Request[T], reason string) error {
	reason = cmp.Or(check.Cut(reason, check.MaxReason), "cancelled by the requester")
	return s.cancel(ctx, "cancel", r, backends.Cancel{Outcome: backends.StatusCancelled,
		Error: reason, Grace: s.policy.CancelGrace.Truncate(time.Microsecond)})
}

// Timeout ends a request at once, at any attempt, because its requester gives up. It keeps the
// stored payload, and uses r as Cancel does. After the last deadline it returns [ErrEnded].
func (s *PendingStore[T]) Timeout(ctx context.Context, r *Request[T]) error {
	return s.cancel(ctx, "time out", r, backends.Cancel{Outcome: backends.StatusTimeout,
		Error: "timed out: the requester gave up waiting"})
}

// cancel implements Cancel and Timeout.
func (s *PendingStore[T]) cancel(
	ctx context.Context, operation string, r *Request[T], c backends.Cancel) error {
	if r == nil {
		return s.failed(operation, "", check.Invalid("the request is nil"))
	}
	c.Terms, c.ID, c.Mailbox = s.terms, r.ID, r.Mailbox
	err := check.ID(r.ID)
	var rec backends.Record
	if err == nil {
		rec, err = s.backend.Cancel(ctx, c)
	}
	ended, ok := errors.AsType[*backends.EndedError](err)
	if ok && ended.Record.Status == c.Outcome &&
		(c.Outcome == backends.StatusCancelled || ended.Record.Error == c.Error) {
		rec, err = ended.Record, nil // a retry of the Cancel or Timeout
	}
	if err != nil {
		return s.failed(operation, r.ID, err)
	}
	payload := r.Payload
	_ = s.read(rec, r) // the record of a cancel has no payload
	r.Payload = payload
	return nil
}

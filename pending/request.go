package pending

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
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

// LogValue implements [slog.LogValuer]: ids, status and attempt, never the payload.
func (r Request[T]) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", r.ID), slog.String("mailbox", r.Mailbox),
		slog.String("status", string(r.Status)), slog.Int("attempt", r.Attempt))
}

// CreateOption changes one Create.
type CreateOption func(*createOptions)

type createOptions struct {
	key     string
	hasKey  bool
	headers map[string]string
}

// WithIdempotencyKey lets the caller retry a Create. The same key, of 1 to 512 bytes, again in the
// same store and mailbox returns the first request, whatever its payload and whatever has become of
// it, for as long as it is kept. Without a key each Create makes a new request.
func WithIdempotencyKey(key string) CreateOption {
	return func(o *createOptions) { o.key, o.hasKey = key, true }
}

// WithHeaders sends small strings along with a request, such as a trace context. They never change.
// Names and values are UTF-8 and have at most 4 KiB together.
func WithHeaders(headers map[string]string) CreateOption {
	return func(o *createOptions) { o.headers = headers }
}

func checkHeaders(headers map[string]string) error {
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		if name == "" || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("%w: header %.80q is empty or not UTF-8", ErrInvalid, name)
		}
	}
	return checkRange("the size of the headers in bytes", size, 0, 4<<10)
}

// Create stores a new pending request for a mailbox, 1 to 512 bytes of UTF-8, and returns it. It
// returns a [BusyError] if the store is Exclusive and the mailbox has a live request. Its other
// errors are [ErrFull], [ErrTooLarge] and [ErrInvalid].
func (s *PendingStore[T]) Create(ctx context.Context, mailbox string, payload T,
	opts ...CreateOption) (r *Request[T], err error) {
	defer s.wrap(&err, "create", mailbox)
	o := collect[createOptions](opts)
	err = cmp.Or(checkMailbox(mailbox), checkHeaders(o.headers))
	id := backends.NewID(mailbox)
	if o.hasKey {
		err = cmp.Or(err, checkRange("the idempotency key's length", len(o.key), 1, maxName))
		id = backends.DeriveID(s.policy.Name, mailbox, o.key)
	}
	if err != nil {
		return nil, err
	}
	encoded, err := s.encode(payload, id, mailbox, codec.Question)
	if err != nil {
		return nil, err
	}
	return s.request(s.backend.Create(ctx, backends.Create{Terms: s.terms, ID: id,
		Mailbox: mailbox, Codec: s.codec.Name(), Payload: encoded, Headers: o.headers}))
}

// GetOption changes one Get.
type GetOption func(*getOptions)

type getOptions struct {
	mailbox   string
	inMailbox bool
}

// InMailbox turns a request of any other mailbox into [ErrNotFound]. It is for callers who may see
// only this mailbox.
func InMailbox(mailbox string) GetOption {
	return func(o *getOptions) { o.mailbox, o.inMailbox = mailbox, true }
}

// Get reads a request. A request past its deadline reads as timed out: nobody has to write a
// timeout. Get returns [ErrNotFound] if there is no such request, and [ErrInvalid] for an id that
// no Create can have made. With a [DecodeError] it may return the request without its payload.
func (s *PendingStore[T]) Get(
	ctx context.Context, id string, opts ...GetOption) (r *Request[T], err error) {
	defer s.wrap(&err, "get", id)
	return s.request(s.get(ctx, id, opts))
}

func (s *PendingStore[T]) get(
	ctx context.Context, id string, opts []GetOption) (rec backends.Record, err error) {
	o := collect[getOptions](opts)
	err = checkID(id)
	if err == nil {
		rec, err = s.backend.Get(ctx, s.policy.Name, id)
	}
	if err == nil && o.inMailbox && rec.Mailbox != o.mailbox {
		err = ErrNotFound
	}
	return rec, err
}

// HasPending reports whether the mailbox has a request that a pop could claim now. It only reads.
func (s *PendingStore[T]) HasPending(ctx context.Context, mailbox string) (has bool, err error) {
	defer s.wrap(&err, "look into", mailbox)
	if err := checkMailbox(mailbox); err != nil {
		return false, err
	}
	return s.backend.HasPending(ctx, s.policy.Name, mailbox)
}

// ListOptions say which page of live requests List returns. The zero value is the first page.
type ListOptions struct {
	After string // Page.Next of the page before; "": the first page
	Limit int    // how many requests at most, 1 to 100. Default: 100
}

// Page is a page of live requests.
type Page[T any] struct {
	Requests []*Request[T] // the oldest first
	Next     string        // ListOptions.After for the next page; "" if this is the last one
}

// List returns pending and running requests of a mailbox, the oldest first within the page. A page
// may have fewer requests than the limit although others follow. A request that changes meanwhile
// may come twice or not at all.
//
// A page may come together with an error, a joined [DecodeError] for each request that cannot be
// read. List returns [errors.ErrUnsupported] if the backend cannot list.
func (s *PendingStore[T]) List(
	ctx context.Context, mailbox string, opts ListOptions) (*Page[T], error) {
	limit := cmp.Or(opts.Limit, maxLimit)
	err := cmp.Or(checkMailbox(mailbox), checkRange("the limit", limit, 1, maxLimit))
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

// Cancel asks for the end of a live request, with a reason for people; "" stands for a standard
// text. A pending request ends at once as cancelled, and so does a running one if the policy's
// CancelGrace is 0. Otherwise the worker learns of the cancel at its next Extend, and has that time
// to end the request in its own way. After that the request reads as cancelled. No further attempt
// follows in any case.
//
// On success r has the status of the request: cancelled, or running for the time of the grace. A
// second Cancel succeeds and changes nothing. If the request has ended otherwise, Cancel returns
// [ErrEnded].
func (s *PendingStore[T]) Cancel(ctx context.Context, r *Request[T], reason string) error {
	reason = cmp.Or(cut(reason), "cancelled by the requester")
	return s.cancel(ctx, "cancel", r, backends.Cancel{Outcome: backends.StatusCancelled,
		Error: reason, Grace: s.policy.CancelGrace.Truncate(time.Microsecond)})
}

// Timeout ends a request at once because its requester gives up waiting, whatever its attempt. It
// keeps the stored payload. On success r has the status of the request.
func (s *PendingStore[T]) Timeout(ctx context.Context, r *Request[T]) error {
	return s.cancel(ctx, "time out", r, backends.Cancel{Outcome: backends.StatusTimeout,
		Error: "timed out: the requester gave up waiting"})
}

// cancel cancels a request and updates r.
func (s *PendingStore[T]) cancel(
	ctx context.Context, operation string, r *Request[T], c backends.Cancel) error {
	if r == nil {
		return s.failed(operation, "", fmt.Errorf("%w: the request is nil", ErrInvalid))
	}
	c.Terms, c.ID, c.Mailbox = s.terms, r.ID, r.Mailbox
	err := checkID(r.ID)
	var rec backends.Record
	if err == nil {
		rec, err = s.backend.Cancel(ctx, c)
	}
	var ended *backends.EndedError
	if errors.As(err, &ended) && ended.Record.Status == c.Outcome &&
		(c.Outcome == backends.StatusCancelled || ended.Record.Error == c.Error) {
		rec, err = ended.Record, nil // this repeats the cancel that ended it
	}
	if err != nil {
		return s.failed(operation, r.ID, err)
	}
	payload := r.Payload
	_ = s.read(rec, r) // Cancel returns no payload
	r.Payload = payload
	return nil
}

package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
)

// payload is a payload in a body: as JSON if its codec is JSON, and as base64 otherwise.
type payload struct {
	JSON   json.RawMessage `json:"payload,omitempty"`
	Base64 []byte          `json:"payload_base64,omitempty"`
}

func (p payload) bytes() []byte {
	if p.JSON != nil {
		return p.JSON
	}
	return p.Base64
}

// head is a [backends.Record], field by field. In JSON its payload follows it.
type head struct {
	ID           string            `json:"id"`
	Mailbox      string            `json:"mailbox"`
	Status       string            `json:"status"`
	Attempt      int               `json:"attempt"`
	Error        string            `json:"error,omitempty"`
	Codec        string            `json:"codec,omitempty"`
	Payload      []byte            `json:"-"`
	Headers      map[string]string `json:"headers,omitempty"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
	StartedAt    time.Time         `json:"started_at,omitzero"`
	Deadline     time.Time         `json:"deadline"`
	LastDeadline time.Time         `json:"last_deadline"`
	CancelledAs  string            `json:"cancelled_as,omitempty"`
	CancelReason string            `json:"cancel_reason,omitempty"`
	ReadAt       time.Time         `json:"read_at"`
}

// record is a [backends.Record] as a client reads it.
type record struct {
	head
	payload
}

func (r record) decode() backends.Record {
	r.Payload = r.bytes()
	return backends.Record(r.head)
}

// lease is a [backends.Lease].
type lease struct {
	UpdatedAt    time.Time `json:"updated_at"`
	Deadline     time.Time `json:"deadline"`
	CancelledAs  string    `json:"cancelled_as,omitempty"`
	CancelReason string    `json:"cancel_reason,omitempty"`
}

// message is the body of a create, extend, cancel or end, without its payload.
type message struct {
	Attempt     int       `json:"attempt"`
	StartedAt   time.Time `json:"started_at,omitzero"` // zero: the worker does not know it
	Codec       string    `json:"codec,omitempty"`     // "": json, if there is a payload
	Headers     headers   `json:"headers,omitempty"`
	Outcome     string    `json:"outcome,omitempty"`
	Reason      string    `json:"reason,omitempty"` // why it failed, or is cancelled
	Release     bool      `json:"release,omitempty"`
	AfterMicros int64     `json:"after_us,omitempty"`
}

// headers are decoded only if they are small.
type headers map[string]string

func (h *headers) UnmarshalJSON(text []byte) error {
	if len(text) > 7*check.MaxHeaders { // each byte may be escaped
		return check.Invalid("headers have over %d bytes", check.MaxHeaders)
	}
	return json.Unmarshal(text, (*map[string]string)(h))
}

// claims is the body of a claim. It makes one or many.
type claims struct {
	Claims []claim `json:"claims"`
}

type claim struct {
	ID      string `json:"id"`
	Mailbox string `json:"mailbox"`
	From    []from `json:"from"`
}

type from struct {
	Store string `json:"store"`
	Limit int    `json:"limit,omitempty"` // 0: 1
}

// watchBody is the body of a watch.
type watchBody struct {
	Mailboxes []string `json:"mailboxes,omitempty"`
	Requests  []string `json:"requests,omitempty"`
	WaitMS    int64    `json:"wait_ms,omitempty"` // 0: as long as the server allows
}

// event is a line of the answer to a watch. An empty one is a sign of life.
type event struct {
	Watching bool   `json:"watching,omitempty"` // from now on nothing goes unnoticed
	Mailbox  string `json:"mailbox,omitempty"`  // may have something to claim
	Request  string `json:"request,omitempty"`  // has changed, with its status and cancel
	Status   string `json:"status,omitempty"`

	CancelledAs  string `json:"cancelled_as,omitempty"` // the worker is to stop
	CancelReason string `json:"cancel_reason,omitempty"`
}

// requests is a page, or what a claim got from one store, as a client reads it.
type requests struct {
	Requests []record
	Errors   []failure
	Next     string
}

func (r requests) decode() (recs []backends.Record, errs []error) {
	for _, rec := range r.Requests {
		recs = append(recs, rec.decode())
	}
	for _, f := range r.Errors {
		errs = append(errs, f.decode())
	}
	return recs, errs
}

// result is the result of a claim, as a client reads it.
type result struct {
	Claimed []requests
	Failure *failure
}

// decode returns the result of a claim from that many stores.
func (r result) decode(stores int) (c backends.ClaimResult) {
	switch {
	case r.Failure != nil:
		c.Err = fmt.Errorf("remote: claim: %w", r.Failure.decode())
	case len(r.Claimed) != stores:
		c.Err = errResults
	default:
		for _, from := range r.Claimed {
			recs, errs := from.decode()
			c.Claimed = append(c.Claimed, backends.Claimed{Records: recs, Errs: errs})
		}
	}
	return c
}

var errResults = errors.New("remote: claim: the answer has another number of results")

type mailboxes struct {
	Mailboxes []string `json:"mailboxes"`
	Next      string   `json:"next,omitempty"`
}

// failure is an error in an answer.
type failure struct {
	Code    string  `json:"code"`
	Error   string  `json:"error"`
	ID      string  `json:"id,omitempty"`      // of the live request, or of the unreadable one
	Request *record `json:"request,omitempty"` // as it ended
}

// Errors of the connection to the server, for errors.Is.
var (
	ErrUnauthorized = errors.New("the server does not know the caller") // 401
	ErrForbidden    = errors.New("the caller may not do this")          // 403
	ErrTooMany      = errors.New("too many requests are in flight")     // 429
)

var (
	errNoAnswer    = errors.New("the server did not answer in time")
	errLargeAnswer = errors.New("the answer is over Options.MaxAnswer")
	errSlowBody    = errors.New("the body took too long")
	errUnavailable = errors.New("the storage did not answer in time")
	errCorrupt     = errors.New("the stored request cannot be read")
	errInternal    = errors.New("internal error")
)

// code is the error code of an answer.
type code struct {
	name   string
	status int
	err    error
	after  string // the answer's Retry-After in seconds; "": none
	again  bool   // the client tries again
}

// codes are all codes. The first one that matches an error is its code.
var codes = []code{
	{"unauthorized", http.StatusUnauthorized, ErrUnauthorized, "", false},
	{"forbidden", http.StatusForbidden, ErrForbidden, "", false},
	{"not_found", http.StatusNotFound, backends.ErrNotFound, "", false},
	{"ended", http.StatusConflict, backends.ErrEnded, "", false},
	{"stale_claim", http.StatusConflict, backends.ErrStaleClaim, "", false},
	{"busy", http.StatusConflict, backends.ErrBusy, "", false},
	{"full", http.StatusTooManyRequests, backends.ErrFull, "5", false},
	{"too_many", http.StatusTooManyRequests, ErrTooMany, "1", true},
	{"too_large", http.StatusRequestEntityTooLarge, codec.ErrTooLarge, "", false},
	{"invalid", http.StatusBadRequest, check.ErrInvalid, "", false},
	{"slow_body", http.StatusRequestTimeout, errSlowBody, "", true},
	{"unsupported", http.StatusNotImplemented, errors.ErrUnsupported, "", false},
	{"unavailable", http.StatusServiceUnavailable, errUnavailable, "1", true},
	{"corrupt", http.StatusInternalServerError, errCorrupt, "", false},
	{"internal", http.StatusInternalServerError, errInternal, "", true},
}

// codeOf returns the code of an error.
func codeOf(err error) code {
	if errors.As(err, new(*backends.CorruptError)) {
		err = errCorrupt
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c
		}
	}
	return codes[len(codes)-1]
}

// appendFailure appends an error. Only the codes invalid, too_large and corrupt come with its text:
// an engine's own error may contain addresses.
func appendFailure(b []byte, err error) []byte {
	c := codeOf(err)
	f := failure{Code: c.name, Error: c.err.Error()}
	var busy *backends.BusyError
	var corrupt *backends.CorruptError
	switch {
	case errors.As(err, &corrupt):
		f.ID, f.Error = corrupt.ID, corrupt.Err.Error()
	case errors.As(err, &busy):
		f.ID = busy.ID
	case c.err == check.ErrInvalid, c.err == codec.ErrTooLarge:
		f.Error = err.Error()
	}
	b = appendJSON(b, f)
	var ended *backends.EndedError
	if errors.As(err, &ended) {
		b = append(appendRecord(append(b[:len(b)-1], `,"request":`...), ended.Record), '}')
	}
	return b
}

// decode returns the error that an answer tells.
func (f failure) decode() error {
	i := slices.IndexFunc(codes, func(c code) bool { return c.name == f.Code })
	switch {
	case i < 0:
		return fmt.Errorf("the server answered with the unknown error code %.40q", f.Code)
	case f.Code == "ended" && f.Request != nil:
		return &backends.EndedError{Record: f.Request.decode()}
	case f.Code == "busy":
		return &backends.BusyError{ID: f.ID}
	case f.Code == "corrupt":
		return &backends.CorruptError{ID: f.ID, Err: fmt.Errorf("%w: %s", errCorrupt, f.Error)}
	case f.Error == codes[i].err.Error():
		return codes[i].err
	}
	return fmt.Errorf("%w (the server says: %.300q)", codes[i].err, f.Error)
}

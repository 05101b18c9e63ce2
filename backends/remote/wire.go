package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
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

// standsAsJSON reports whether a payload comes back byte for byte if it stands in JSON.
func standsAsJSON(codec string, payload []byte) bool {
	return codec == "json" && len(payload) > 0 && !isSpace(payload[0]) &&
		!isSpace(payload[len(payload)-1]) && utf8.Valid(payload) && json.Valid(payload)
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }

// head is a [backends.Record] without its payload.
type head struct {
	ID           string            `json:"id"`
	Mailbox      string            `json:"mailbox"`
	Status       string            `json:"status"`
	Attempt      int               `json:"attempt"`
	Error        string            `json:"error,omitempty"`
	Headers      map[string]string `json:"headers,omitempty"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
	StartedAt    time.Time         `json:"started_at,omitzero"`
	Deadline     time.Time         `json:"deadline"`
	LastDeadline time.Time         `json:"last_deadline"`
	CancelledAs  string            `json:"cancelled_as,omitempty"`
	CancelReason string            `json:"cancel_reason,omitempty"`
	ReadAt       time.Time         `json:"read_at"`
	Codec        string            `json:"codec,omitempty"`
}

func newHead(r backends.Record) head {
	return head{ID: r.ID, Mailbox: r.Mailbox, Status: r.Status, Attempt: r.Attempt, Error: r.Error,
		Headers: r.Headers, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, StartedAt: r.StartedAt,
		Deadline: r.Deadline, LastDeadline: r.LastDeadline, CancelledAs: r.CancelledAs,
		CancelReason: r.CancelReason, ReadAt: r.ReadAt, Codec: r.Codec}
}

// record is a [backends.Record] as a client reads it.
type record struct {
	head
	payload
}

func (r record) record() backends.Record {
	h := r.head
	return backends.Record{ID: h.ID, Mailbox: h.Mailbox, Status: h.Status, Attempt: h.Attempt,
		Error: h.Error, Headers: h.Headers, CreatedAt: h.CreatedAt, UpdatedAt: h.UpdatedAt,
		StartedAt: h.StartedAt, Deadline: h.Deadline, LastDeadline: h.LastDeadline,
		CancelledAs: h.CancelledAs, CancelReason: h.CancelReason, ReadAt: h.ReadAt, Codec: h.Codec,
		Payload: r.payload.bytes()}
}

func records(read []record) (all []backends.Record) {
	for _, r := range read {
		all = append(all, r.record())
	}
	return all
}

// lease is a [backends.Lease].
type lease struct {
	UpdatedAt    time.Time `json:"updated_at"`
	Deadline     time.Time `json:"deadline"`
	CancelledAs  string    `json:"cancelled_as,omitempty"`
	CancelReason string    `json:"cancel_reason,omitempty"`
}

// The following types are the bodies of HTTP requests, without their payloads.

type createBody struct {
	Codec   string            `json:"codec"`
	Headers map[string]string `json:"headers,omitempty"`
}

type claimBody struct {
	ID      string     `json:"id"`
	Mailbox string     `json:"mailbox"`
	From    []fromBody `json:"from"`
}

type fromBody struct {
	Store string `json:"store"`
	Limit int    `json:"limit,omitempty"` // 0: 1
}

type claimsBody struct {
	Claims []claimBody `json:"claims"`
}

type extendBody struct {
	Attempt     int    `json:"attempt"`
	Codec       string `json:"codec,omitempty"`
	Release     bool   `json:"release,omitempty"`
	AfterMicros int64  `json:"after_us,omitempty"`
}

type cancelBody struct {
	Outcome string `json:"outcome,omitempty"` // "": cancelled
	Reason  string `json:"reason,omitempty"`
}

type endBody struct {
	Attempt int    `json:"attempt"`
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
	Codec   string `json:"codec"`
}

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

// The following types are answers, for the client. The server writes them with a [body].

type claimedAnswer struct {
	Claimed []struct {
		Requests []record      `json:"requests"`
		Errors   []errorAnswer `json:"errors"`
	} `json:"claimed"`
	Failure *errorAnswer `json:"failure"` // of this claim alone, where many are made
}

func (a claimedAnswer) claimed() (all []backends.Claimed) {
	for _, c := range a.Claimed {
		all = append(all, backends.Claimed{Records: records(c.Requests), Errs: errs(c.Errors)})
	}
	return all
}

type pageAnswer struct {
	Requests []record      `json:"requests"`
	Errors   []errorAnswer `json:"errors"`
	Next     string        `json:"next"`
}

type mailboxesAnswer struct {
	Mailboxes []string `json:"mailboxes"`
	Next      string   `json:"next,omitempty"`
}

// errorHead is an error in an answer, without the request that has ended.
type errorHead struct {
	Code  string `json:"code"`
	Error string `json:"error"`
	ID    string `json:"id,omitempty"` // of the live request, or of the one that cannot be read
}

type errorAnswer struct {
	errorHead
	Request *record `json:"request,omitempty"` // as it ended
}

// Errors of the connection to the server, for errors.Is.
var (
	ErrUnauthorized = errors.New("the server does not know the caller") // 401
	ErrForbidden    = errors.New("the caller may not do this")          // 403
	ErrTooMany      = errors.New("too many requests are in flight")     // 429
)

var (
	errSlowBody    = errors.New("the body took too long")
	errUnavailable = errors.New("the storage did not answer in time")
	errCorrupt     = errors.New("the stored request cannot be read")
	errInternal    = errors.New("internal error")
)

// codes are the error codes of answers. The first entry that matches an error gives its code.
var codes = []struct {
	code   string
	status int
	err    error
}{
	{"unauthorized", http.StatusUnauthorized, ErrUnauthorized},
	{"forbidden", http.StatusForbidden, ErrForbidden},
	{"not_found", http.StatusNotFound, backends.ErrNotFound},
	{"ended", http.StatusConflict, backends.ErrEnded},
	{"stale_claim", http.StatusConflict, backends.ErrStaleClaim},
	{"busy", http.StatusConflict, backends.ErrBusy},
	{"full", http.StatusTooManyRequests, backends.ErrFull},
	{"too_many", http.StatusTooManyRequests, ErrTooMany},
	{"too_large", http.StatusRequestEntityTooLarge, codec.ErrTooLarge},
	{"invalid", http.StatusBadRequest, pending.ErrInvalid},
	{"slow_body", http.StatusRequestTimeout, errSlowBody},
	{"unsupported", http.StatusNotImplemented, errors.ErrUnsupported},
	{"unavailable", http.StatusServiceUnavailable, errUnavailable},
	{"corrupt", http.StatusInternalServerError, errCorrupt},
	{"internal", http.StatusInternalServerError, errInternal},
}

// encodeError returns the status and the body for an error. Only the codes invalid, too_large and
// corrupt come with the error's text: an engine's own error may contain addresses.
func encodeError(err error) (status int, e errorHead) {
	var corrupt *backends.CorruptError
	if errors.As(err, &corrupt) {
		return http.StatusInternalServerError, errorHead{"corrupt", corrupt.Err.Error(), corrupt.ID}
	}
	var busy *backends.BusyError
	if errors.As(err, &busy) {
		e.ID = busy.ID
	}
	for _, c := range codes {
		if errors.Is(err, c.err) || c.err == errInternal {
			e.Code, e.Error, status = c.code, c.err.Error(), c.status
			break
		}
	}
	if e.Code == "invalid" || e.Code == "too_large" {
		e.Error = err.Error()
	}
	return status, e
}

// decode returns the error that an answer tells.
func (e errorAnswer) decode() error {
	switch {
	case e.Code == "ended" && e.Request != nil:
		return &backends.EndedError{Record: e.Request.record()}
	case e.Code == "busy":
		return &backends.BusyError{ID: e.ID}
	case e.Code == "corrupt":
		return &backends.CorruptError{ID: e.ID, Err: fmt.Errorf("%w: %s", errCorrupt, e.Error)}
	}
	for _, c := range codes {
		switch {
		case c.code != e.Code:
		case c.err.Error() == e.Error:
			return c.err
		default:
			return fmt.Errorf("%w (the server says: %.300q)", c.err, e.Error)
		}
	}
	return fmt.Errorf("the server answered with the unknown error code %.40q", e.Code)
}

func errs(read []errorAnswer) (all []error) {
	for _, e := range read {
		all = append(all, e.decode())
	}
	return all
}

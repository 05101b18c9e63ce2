package skillshttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/pendingq/pendingq/internal/quota"
	"github.com/pendingq/pendingq/internal/unsent"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills/wire"
)

// Handler serves the routes. Make one with [New]. It may be used concurrently.
type Handler struct {
	config Config
	mux    *http.ServeMux

	waits   quota.Quota // of held GETs
	beats   quota.Quota // of held heartbeats and WebSockets
	reading quota.Quota // of calls that read a request from the stores
	reports quota.Quota // of bytes of report bodies
	answers quota.Quota // of bytes of large answers
	shared  sharedAnswers

	unsure   unsureClaims
	draining context.Context // ends when parked requests are to be answered
	drain    context.CancelFunc
}

// New makes a Handler. It refuses a Config without a required field, or with a negative limit.
func New(c Config) (*Handler, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handler{config: c, mux: http.NewServeMux()}
	h.draining, h.drain = context.WithCancel(context.Background())
	h.routes()
	return h, nil
}

// Drain answers every parked request as if its wait were over, and closes the WebSockets. It parks
// no further request. Use it when a server shuts down:
// http.Server.RegisterOnShutdown(handler.Drain).
func (h *Handler) Drain() { h.drain() }

// Wait waits until no WebSocket is open and no heartbeat is held. If ctx ends first, it returns
// ctx's error. [http.Server.Shutdown] does not wait for WebSockets: call Wait after it, and before
// the backend of the stores is closed.
func (h *Handler) Wait(ctx context.Context) error {
	none := []quota.Share{quota.Of("", 1)} // has room when nothing is held
	if !h.beats.Enter(ctx, 1, none) {
		return ctx.Err()
	}
	h.beats.Leave(1, none)
	return nil
}

// Parked returns the number of parked requests, for metrics: GETs, heartbeats and WebSockets.
func (h *Handler) Parked() int { return int(h.waits.Held("") + h.beats.Held("")) }

// NewServer returns a server for a handler, with limits on slow and hostile clients: headers have
// 10 s and 64 KiB, an idle connection 2 min. Bodies and answers have the limits of [Config]. The
// server drains the handler when it shuts down.
func NewServer(addr string, h *Handler) *http.Server {
	server := &http.Server{Addr: addr, Handler: h,
		ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(h.config.Logger.Handler(), slog.LevelWarn)}
	server.RegisterOnShutdown(h.Drain)
	return server
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	unsent.Limit(w, r)
	h.mux.ServeHTTP(w, r)
}

// handle serves a route with a function that returns the answer or an error.
func (h *Handler) handle(pattern string, serve func(*call) (any, error)) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Handler: h, w: w, r: r, runtimeID: r.PathValue("runtimeId"),
			requestID: r.PathValue("requestId")}
		defer c.leave()
		start := time.Now()
		answer, err := serve(c)
		status := http.StatusSwitchingProtocols
		switch {
		case answer != hijacked:
			status = c.answer(answer, err)
		case err != nil:
			status = http.StatusBadRequest // or another 4xx, see err
		}
		c.log(pattern, status, err, time.Since(start))
	})
}

// hijacked stands for the answer of a call that has opened a WebSocket, or was refused one.
var hijacked any = new(int)

// call is one HTTP request.
type call struct {
	*Handler
	w         http.ResponseWriter
	r         *http.Request
	runtimeID string
	requestID string
	caller    string   // the user of a front end
	quiet     bool     // the log has the call at level debug
	leaves    []func() // to release the quotas and contexts of the call
}

// hold takes n of a quota until the call is answered. It waits for room, but not longer than wait.
// It returns false if there is still no room.
func (c *call) hold(q *quota.Quota, n int64, wait time.Duration, shares ...quota.Share) bool {
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	defer cancel()
	ok := q.Enter(ctx, n, shares)
	if ok {
		c.leaves = append(c.leaves, func() { q.Leave(n, shares) })
	}
	return ok
}

func (c *call) leave() {
	for _, leave := range c.leaves {
		leave()
	}
}

func (c *call) log(route string, status int, err error, took time.Duration) {
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("route", route), slog.String("runtime", c.runtimeID),
		slog.Int("status", status), slog.Duration("took", took)}
	switch {
	case c.r.Context().Err() != nil:
		level = slog.LevelDebug
		attrs = append(attrs, slog.Bool("hung up", true))
	case status >= 500 && status != http.StatusServiceUnavailable:
		level = slog.LevelError
	case c.quiet && err == nil:
		level = slog.LevelDebug
	}
	if c.requestID != "" {
		attrs = append(attrs, slog.String("request", c.requestID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.config.Logger.LogAttrs(c.r.Context(), level, "served", attrs...)
}

// refusal is an error, and the answer that a client gets.
type refusal struct {
	status int
	code   string
	text   string
	cause  error // for the log; may be nil
}

func (e *refusal) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %v", e.text, e.cause)
	}
	return e.text
}

func (e *refusal) Unwrap() error { return e.cause }

func refuse(status int, code, format string, args ...any) error {
	return &refusal{status: status, code: code, text: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return refuse(http.StatusBadRequest, wire.CodeInvalid, format, args...)
}

func tooLarge(format string, args ...any) error {
	return refuse(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, format, args...)
}

// errNotFound is the answer for a request or route that does not exist, and for one that the caller
// may not see.
var errNotFound = refuse(http.StatusNotFound, "", "not found")

// answer writes the answer to a call and returns its status.
func (c *call) answer(answer any, err error) int {
	if err == nil {
		return c.write(http.StatusOK, answer)
	}
	r := asRefusal(err)
	switch r.status {
	case http.StatusUnauthorized:
		c.w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if r.code != wire.CodeOffline {
			c.w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		}
	}
	body := wire.Refusal{Error: r.text, Code: r.code}
	var busy *pending.BusyError
	if errors.As(err, &busy) {
		body.ID = busy.ID
	}
	return c.write(r.status, body)
}

// retryAfter is the value of the Retry-After header, in seconds.
const retryAfter = 5

// asRefusal returns the refusal that answers an error.
func asRefusal(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
	case errors.Is(err, ErrUnauthenticated):
		r = &refusal{status: http.StatusUnauthorized, code: wire.CodeUnauthorized,
			text: ErrUnauthenticated.Error()}
	case errors.Is(err, pending.ErrBusy):
		r = &refusal{status: http.StatusConflict, code: wire.CodeBusy,
			text: "an update is already in progress for this runtime"}
	case errors.Is(err, pending.ErrNotFound):
		r = &refusal{status: http.StatusNotFound, text: "not found"}
	case errors.Is(err, pending.ErrFull):
		r = &refusal{status: http.StatusTooManyRequests, code: wire.CodeFull,
			text: "too many requests are waiting for this runtime"}
	case errors.Is(err, pending.ErrTooLarge):
		r = &refusal{status: http.StatusRequestEntityTooLarge, code: wire.CodeTooLarge,
			text: "the request is too large"}
	case errors.Is(err, pending.ErrInvalid):
		r = &refusal{status: http.StatusBadRequest, code: wire.CodeInvalid,
			text: "the request cannot be stored"}
	default:
		r = &refusal{status: http.StatusInternalServerError, text: "internal error"}
	}
	return r
}

const (
	largeAnswer = 64 << 10  // bytes; a larger one counts towards MaxBytes
	quickAnswer = 4 << 10   // bytes; net/http buffers such an answer, and sends it at once
	answerPiece = 256 << 10 // bytes; a client has to read each piece within pieceTime
	bodyPiece   = 64 << 10  // bytes; a client has to send each piece within pieceTime
	pieceTime   = 10 * time.Second
)

// write writes an answer as JSON.
func (c *call) write(status int, answer any) int {
	body, err := encode(answer)
	if err != nil {
		c.config.Logger.Error("encode an answer",
			"runtime", c.runtimeID, "request", c.requestID, "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	header := c.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.send(status, body)
	return status
}

// send sends an answer piece by piece. A client that stops reading is cut off.
func (c *call) send(status int, body []byte) {
	control := http.NewResponseController(c.w) // some writers support no deadlines and no Flush
	pace, end := min(pieceTime, c.config.BodyTimeout), time.Now().Add(2*c.config.BodyTimeout)
	// net/http reads the rest of the request's body before it sends the headers.
	_ = control.SetReadDeadline(time.Now().Add(pace))
	_ = control.SetWriteDeadline(time.Now().Add(2 * pace))
	c.w.WriteHeader(status)
	if len(body) > quickAnswer && control.Flush() == nil {
		// If this deadline passed, net/http would end the context of all later requests.
		_ = control.SetReadDeadline(time.Time{})
	}
	for len(body) > 0 {
		deadline := time.Now().Add(2 * pace) // the rest of the body may take one pace
		if deadline.After(end) {
			deadline = end
		}
		_ = control.SetWriteDeadline(deadline)
		n := min(len(body), answerPiece)
		if _, err := c.w.Write(body[:n]); err != nil {
			return // the client has gone
		}
		body = body[n:]
	}
	_ = control.SetWriteDeadline(time.Now().Add(2 * pace)) // for the buffered rest
	if control.Flush() == nil {
		_ = control.SetWriteDeadline(time.Time{}) // the connection may serve other requests next
	}
	_ = control.SetReadDeadline(time.Now().Add(pace)) // net/http may read more of the body
}

// wait returns how long the caller is willing to wait. 0: not at all.
func (c *call) wait() (time.Duration, error) {
	text := c.r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, invalid("wait is not a duration such as 20s")
	}
	if c.draining.Err() != nil {
		wait = 0
	}
	return min(wait, maxWait), nil
}

// parked returns a context for a wait. It ends early if the client hangs up or the server drains.
func (c *call) parked(wait time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	stop := context.AfterFunc(c.draining, cancel)
	c.leaves = append(c.leaves, func() { stop(); cancel() })
	return ctx
}

// The keys of shares. The share of the whole node has the key "".
func ofRuntime(id string) string         { return "runtime " + id }
func ofRequest(id string) string         { return "request " + id }
func ofCaller(user string) string        { return "caller " + user }
func ofBoth(runtime, user string) string { return "both " + runtime + "\x00" + user }

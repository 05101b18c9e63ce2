package skillshttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pendingq/pendingq/pending"
)

// Handler serves the routes. Make one with [New]. It may be used concurrently.
type Handler struct {
	config   Config
	mux      *http.ServeMux
	waits    parking
	draining context.Context // ends when parked requests are to be answered
	drain    context.CancelFunc
}

// New makes a Handler. It refuses a Config that lacks something.
func New(c Config) (*Handler, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handler{config: c, mux: http.NewServeMux()}
	h.waits.max, h.waits.maxOfOne = c.MaxWaits, c.MaxRuntimeWaits
	h.draining, h.drain = context.WithCancel(context.Background())
	h.routes()
	return h, nil
}

// Drain answers every parked request as if its wait were over, and lets no other wait. It is for a server that
// shuts down: http.Server.RegisterOnShutdown(handler.Drain).
func (h *Handler) Drain() { h.drain() }

// Parked returns how many requests are parked now, for metrics.
func (h *Handler) Parked() int {
	h.waits.mu.Lock()
	defer h.waits.mu.Unlock()
	return h.waits.all
}

// NewServer returns a server for a handler, with limits on what a slow or hostile client can hold: headers have 10
// s and 64 KiB, an idle connection 2 min. Bodies and answers have the limits of [Config]. When it shuts down it
// drains the handler.
func NewServer(addr string, h *Handler) *http.Server {
	server := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(h.config.Logger.Handler(), slog.LevelWarn)}
	server.RegisterOnShutdown(h.Drain)
	return server
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// handle serves a route with a function that returns the answer or why there is none.
func (h *Handler) handle(pattern string, serve func(*call) (any, error)) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Handler: h, w: w, r: r, runtimeID: r.PathValue("runtimeId"), requestID: r.PathValue("requestId")}
		start := time.Now()
		answer, err := serve(c)
		status := c.answer(answer, err)
		c.log(pattern, status, err, time.Since(start))
	})
}

// call is one HTTP request.
type call struct {
	*Handler
	w         http.ResponseWriter
	r         *http.Request
	runtimeID string
	requestID string
	quiet     bool // worth a line only when someone looks closely
}

func (c *call) log(route string, status int, err error, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case status >= 500:
		level = slog.LevelError
	case c.quiet && err == nil:
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("route", route), slog.String("runtime", c.runtimeID), slog.Int("status", status),
		slog.Duration("took", took)}
	if c.requestID != "" {
		attrs = append(attrs, slog.String("request", c.requestID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.config.Logger.LogAttrs(c.r.Context(), level, "served", attrs...)
}

// refusal is an error with the answer that a client gets for it.
type refusal struct {
	status int
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

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// errNotFound is the answer for all that is not there or not the caller's to see.
var errNotFound = refuse(http.StatusNotFound, "not found")

// answer writes the answer to a call and returns its status.
func (c *call) answer(answer any, err error) int {
	var refused *refusal
	var busy *pending.BusyError
	switch {
	case err == nil:
		return c.write(http.StatusOK, answer)
	case errors.As(err, &refused):
		return c.refused(refused.status, refused.text)
	case errors.As(err, &busy):
		return c.write(http.StatusConflict, errorAnswer{"an update is already in progress for this runtime", busy.ID})
	case errors.Is(err, pending.ErrNotFound):
		return c.refused(http.StatusNotFound, "not found")
	case errors.Is(err, pending.ErrFull):
		return c.refused(http.StatusTooManyRequests, "too many requests are waiting for this runtime")
	case errors.Is(err, pending.ErrTooLarge):
		return c.refused(http.StatusRequestEntityTooLarge, "the request is too large")
	}
	return c.refused(http.StatusInternalServerError, "internal error")
}

type errorAnswer struct {
	Error string `json:"error"`
	ID    string `json:"id,omitempty"`
}

// retryAfter is what a client is told that has to come again, in seconds.
const retryAfter = 5

func (c *call) refused(status int, text string) int {
	if status == http.StatusTooManyRequests {
		c.w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	return c.write(status, errorAnswer{Error: text})
}

func (c *call) write(status int, answer any) int {
	body, err := encode(answer)
	if err != nil {
		c.config.Logger.Error("encode an answer", "runtime", c.runtimeID, "request", c.requestID, "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	control, deadline := http.NewResponseController(c.w), time.Now().Add(c.config.BodyTimeout)
	_ = control.SetReadDeadline(deadline) // for what is left of a body, which the server reads before it answers
	_ = control.SetWriteDeadline(deadline.Add(c.config.BodyTimeout))
	header := c.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // that the client has gone is no one's news
	return status
}

// parking counts the requests that are parked.
type parking struct {
	max, maxOfOne int

	mu    sync.Mutex
	all   int
	ofOne map[string]int // by runtime
}

// enter takes a place, or reports that there is none.
func (p *parking) enter(runtimeID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= p.max || p.ofOne[runtimeID] >= p.maxOfOne {
		return false
	}
	if p.ofOne == nil {
		p.ofOne = map[string]int{}
	}
	p.all++
	p.ofOne[runtimeID]++
	return true
}

func (p *parking) leave(runtimeID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	p.ofOne[runtimeID]--
	if p.ofOne[runtimeID] == 0 {
		delete(p.ofOne, runtimeID)
	}
}

// waiting returns how long the caller is ready to wait, with a context that lasts as long and a place to park in. A
// zero wait is none. Done frees the place.
func (c *call) waiting() (ctx context.Context, wait time.Duration, done func(), err error) {
	text := c.r.URL.Query().Get("wait")
	if text == "" {
		return c.r.Context(), 0, func() {}, nil
	}
	wait, err = time.ParseDuration(text)
	if err != nil || wait < 0 {
		return nil, 0, nil, refuse(http.StatusBadRequest, "wait is not a duration such as 20s")
	}
	if wait == 0 || c.draining.Err() != nil {
		return c.r.Context(), 0, func() {}, nil
	}
	if !c.waits.enter(c.runtimeID) {
		return nil, 0, nil, refuse(http.StatusTooManyRequests, "too many requests are waiting here")
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), min(wait, maxWait))
	stop := context.AfterFunc(c.draining, cancel)
	return ctx, wait, func() {
		stop()
		cancel()
		c.waits.leave(c.runtimeID)
	}, nil
}

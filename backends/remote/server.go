package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/internal/unsent"
)

// Server is an http.Handler that serves a backend. Make one with [Handler].
type Server struct {
	backend  backends.Backend
	config   Config
	mux      *http.ServeMux
	stores   map[string]*store
	limits   [sides]limits
	draining context.Context // ends when all waiters must get their answer
	drain    context.CancelFunc
}

// Handler makes a Server. It returns an error for a Config that lacks something, and for a policy
// that package pending refuses.
func Handler(b backends.Backend, c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{backend: b, config: c, mux: http.NewServeMux(), stores: map[string]*store{}}
	var largest int64 // bytes of a claim of one request from each store
	for _, policy := range c.Stores {
		st, err := newStore(b, policy)
		if err == nil && s.stores[policy.Name] != nil {
			err = errors.New("another store has the same name")
		}
		if err != nil {
			return nil, fmt.Errorf("remote: Config.Stores, %.80q: %w", policy.Name, err)
		}
		s.stores[policy.Name], largest = st, largest+st.maxPayload()
	}
	s.config.MaxInFlight = cmp.Or(c.MaxInFlight, max(minInFlight, largest*callerShares))
	if largest > s.share() {
		return nil, fmt.Errorf("remote: Config.MaxInFlight is %d, want at least %d for the "+
			"MaxPayload of these stores", c.MaxInFlight, largest*callerShares)
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.routes()
	return s, nil
}

// Drain answers all waiters at once, and later requests do not wait. Pass it to
// [http.Server.RegisterOnShutdown].
func (s *Server) Drain() { s.drain() }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	unsent.Limit(w, r)
	s.mux.ServeHTTP(w, r)
}

func (s *Server) routes() {
	s.handle("POST /requests", front, (*call).create)
	s.handle("GET /requests", front, (*call).list)
	s.handle("GET /requests/{id}", front, (*call).get)
	s.handle("GET /requests/{id}/events", front, (*call).events)
	s.handle("POST /requests/{id}/cancel", front, (*call).cancel)
	s.handle("POST /requests/{id}/extend", worker, (*call).extend)
	s.handle("POST /requests/{id}/end", worker, (*call).end)
	s.handle("GET /mailboxes", front, (*call).mailboxes)
	s.handle("GET /pending", front, (*call).hasPending)
	s.handle("POST /claim", worker, (*call).claim)
	s.handle("POST /watch", worker, (*call).watch)
	s.handle("/", front, func(*call) ([]byte, error) { return nil, backends.ErrNotFound })
}

// handle serves a route. Serve returns the answer, or nil if it has written one.
func (s *Server) handle(pattern string, side side, serve func(*call) ([]byte, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Server: s, w: w, r: r, query: r.URL.Query(), side: side, start: time.Now(),
			control: http.NewResponseController(w), unread: r.ContentLength != 0}
		defer c.keep(0)
		err := c.authenticate()
		var answer []byte
		if err == nil {
			answer, err = serve(c)
		}
		// A client may also leave when it has the answer. A slow body ends the context, too.
		gone := r.Context().Err() != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		status := c.answer(answer, err)
		c.log(pattern, status, err, gone)
	})
}

// call is one request.
type call struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
	query   url.Values
	control *http.ResponseController
	side    side
	start   time.Time
	caller  string
	store   *store
	mailbox string
	id      string
	held    int64 // bytes of the budget
	unread  bool  // the body has not been read to its end
	changed bool  // worth a line in the log
	status  int   // of the answer, once it has begun
	looking sync.Mutex
}

func (c *call) authenticate() error {
	caller, err := c.config.Access.Caller(c.r)
	if err == nil && caller == "" {
		err = ErrUnauthorized
	}
	c.caller = caller
	return err
}

// notServed is the error for a store that is not served. The answer does not have its text.
func notServed(store string) error {
	return fmt.Errorf("%w: store %.80q is not served", backends.ErrNotFound, store)
}

// allow authorises the caller. If the caller may not even read, the error is ErrNotFound. Its text
// is for the log only.
func (c *call) allow(action Action, store, mailbox string) error {
	if c.stores[store] == nil {
		return notServed(store)
	}
	allowed, err := c.config.Access.Allow(c.r, c.caller, action, store, mailbox)
	seen := false
	if err == nil && !allowed {
		seen, err = c.config.Access.Allow(c.r, c.caller, ActionRead, store, mailbox)
	}
	switch {
	case err != nil:
		return fmt.Errorf("decide about access: %w", err)
	case allowed:
		return nil
	case seen:
		return ErrForbidden
	}
	return fmt.Errorf("%w: store %q is hidden from the caller", backends.ErrNotFound, store)
}

// inStore authorises a call for the store that its query names, and for a mailbox.
func (c *call) inStore(action Action, mailbox string) error {
	c.mailbox, c.store = mailbox, c.stores[c.query.Get("store")]
	return c.allow(action, c.query.Get("store"), mailbox)
}

// inMailbox authorises a call for the store and the mailbox that its query names.
func (c *call) inMailbox(action Action) error {
	mailbox := c.query.Get("mailbox")
	if err := check.Mailbox(mailbox); err != nil {
		return err
	}
	return c.inStore(action, mailbox)
}

// find authorises a call for the request that its path names, and returns it. A caller who is not a
// worker of the mailbox that the query names counts towards the limits of front ends.
func (c *call) find(action Action) (rec backends.Record, err error) {
	c.id = c.r.PathValue("id")
	c.store = c.stores[c.query.Get("store")]
	if err := check.ID(c.id); err != nil {
		return rec, err
	}
	if c.store == nil {
		return rec, notServed(c.query.Get("store"))
	}
	if own := c.side; own == worker &&
		c.allow(action, c.store.Name, c.query.Get("mailbox")) != nil {
		c.side = front
		defer func() { c.keep(0); c.side = own }()
	}
	if err := c.take(c.store.maxPayload()); err != nil {
		return rec, err
	}
	rec, err = c.read(c.r.Context(), c.store, c.id)
	if err == nil {
		c.mailbox = rec.Mailbox
		err = c.allow(action, c.store.Name, rec.Mailbox)
	}
	return rec, err
}

func (c *call) read(ctx context.Context, s *store, id string) (backends.Record, error) {
	return timed(ctx, c, func(ctx context.Context) (backends.Record, error) {
		return c.backend.Get(ctx, s.Name, id)
	})
}

// timed calls the backend with a time limit.
func timed[T any](
	ctx context.Context, c *call, do func(context.Context) (T, error)) (result T, err error) {
	limited, cancel := context.WithTimeout(ctx, c.config.CallTimeout)
	defer cancel()
	result, err = do(limited)
	return result, c.late(limited, err)
}

// late marks the error of a call whose context has ended, unless the client has gone.
func (c *call) late(limited context.Context, err error) error {
	if err != nil && limited.Err() != nil && c.r.Context().Err() == nil {
		err = fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return err
}

// bodySize returns how large the body can be.
func (c *call) bodySize(limit int64) int64 {
	if c.r.ContentLength >= 0 {
		return min(c.r.ContentLength, limit)
	}
	return limit
}

// decode reads a body of at most limit bytes into v. The caller has been authenticated.
func (c *call) decode(v any, limit int64) error {
	tooLarge := fmt.Errorf("%w: a body has at most %d bytes here", codec.ErrTooLarge, limit)
	if c.r.ContentLength > limit {
		return tooLarge
	}
	allowed := smallBodyTimeout
	if c.bodySize(limit) > smallBody {
		allowed = c.config.BodyTimeout
	}
	_ = c.control.SetReadDeadline(time.Now().Add(allowed)) // not every writer has one
	var text bytes.Buffer
	text.Grow(int(c.bodySize(limit)) + bytes.MinRead)
	_, err := text.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, limit))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return tooLarge
	case err != nil:
		return fmt.Errorf("%w: %w", errSlowBody, err)
	}
	c.unread = false
	_ = c.control.SetReadDeadline(time.Time{}) // what follows may be a wait
	err = json.Unmarshal(text.Bytes(), v)
	if err != nil && !errors.Is(err, check.ErrInvalid) {
		err = check.Invalid("the body is not the JSON that is expected here") // err may quote it
	}
	return err
}

// answer writes an answer or an error, if the call has not begun one, and returns the status.
func (c *call) answer(answer []byte, err error) (status int) {
	if c.status != 0 {
		_ = c.control.SetWriteDeadline(time.Now().Add(lineTimeout)) // for the end of a stream
		return c.status
	}
	status = http.StatusOK
	if err != nil {
		code := codeOf(err)
		status, answer = code.status, appendFailure(nil, err)
		if code.after != "" {
			c.w.Header().Set("Retry-After", code.after)
		}
		if status == http.StatusUnauthorized {
			c.w.Header().Set("WWW-Authenticate", "Bearer")
		}
	}
	c.keep(int64(len(answer)))
	c.begin("application/json", status)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	c.w.WriteHeader(status)
	_, err = c.w.Write(answer)
	if err == nil && c.control.Flush() == nil && !c.unread {
		_ = c.control.SetWriteDeadline(time.Time{}) // the connection may serve others next
	}
	return status
}

// begin limits the time that an answer may take. It does not wait for the rest of a body.
func (c *call) begin(contentType string, status int) {
	c.status = status
	_ = c.control.SetWriteDeadline(time.Now().Add(c.config.BodyTimeout))
	header := c.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	if c.unread {
		_ = c.control.SetReadDeadline(time.Now())
		c.hangUpAfterwards()
	}
}

// hangUpAfterwards has the server close the connection when the answer is written.
func (c *call) hangUpAfterwards() {
	if c.r.ProtoMajor == 1 {
		c.w.Header().Set("Connection", "close")
	}
}

func (c *call) log(route string, status int, err error, gone bool) {
	level := slog.LevelDebug
	switch {
	case gone:
	case status >= http.StatusInternalServerError:
		level = slog.LevelError
	case c.changed || err != nil:
		level = slog.LevelInfo
	}
	attrs := []any{"route", route, "status", status, "took", time.Since(c.start)}
	text, store := "", ""
	if c.store != nil {
		store = c.store.Name
	}
	if gone {
		text = "the client has hung up"
	} else if err != nil {
		text = err.Error()
	}
	for _, attr := range [][2]string{{"caller", c.caller}, {"store", store},
		{"mailbox", c.mailbox}, {"request", c.id}, {"error", text}} {
		if attr[1] != "" {
			attrs = append(attrs, attr[0], attr[1])
		}
	}
	c.config.Logger.Log(c.r.Context(), level, "served", attrs...)
}

package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Server is an http.Handler that serves a backend. Make one with [Handler].
type Server struct {
	backend  backends.Backend
	config   Config
	mux      *http.ServeMux
	stores   map[string]*store
	budgets  [sides]budget
	parked   [sides]parking
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
	for _, policy := range c.Stores {
		st, err := newStore(b, policy)
		if err == nil && s.stores[policy.Name] != nil {
			err = errors.New("another store has the same name")
		}
		if err != nil {
			return nil, fmt.Errorf("remote: Config.Stores, %.80q: %w", policy.Name, err)
		}
		s.stores[policy.Name] = st
	}
	for i := range sides {
		s.budgets[i].size = c.MaxInFlight
		s.parked[i] = parking{max: c.MaxParked, maxOfMailbox: c.MaxParkedOfMailbox,
			maxOfCaller: c.MaxParkedOfCaller}
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.routes()
	return s, nil
}

// Drain answers all waiters at once, and later requests do not wait. Pass it to
// [http.Server.RegisterOnShutdown].
func (s *Server) Drain() { s.drain() }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

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
	s.handle("POST /claims", worker, (*call).claimMany)
	s.handle("POST /watch", worker, (*call).watch)
	s.handle("/", front, func(*call) (*body, error) { return nil, backends.ErrNotFound })
}

// handle serves a route. Serve returns the answer, or nil if it has written one.
func (s *Server) handle(pattern string, side side, serve func(*call) (*body, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{Server: s, w: w, r: r, control: http.NewResponseController(w), side: side,
			start: time.Now(), unread: r.ContentLength != 0}
		defer c.free()
		err := c.authenticate()
		var answer *body
		if err == nil {
			answer, err = serve(c)
		}
		gone := r.Context().Err() != nil // a client may also leave when it has the answer
		status := c.answer(answer, err)
		c.log(pattern, status, err, gone)
	})
}

// call is one request.
type call struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
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

// allow authorises the caller. If the caller may not even read, the error is ErrNotFound.
func (c *call) allow(action Action, store, mailbox string) error {
	allowed, err := false, error(nil)
	seen := false
	if c.stores[store] != nil {
		allowed, err = c.config.Access.Allow(c.r, c.caller, action, store, mailbox)
		if err == nil && !allowed {
			seen, err = c.config.Access.Allow(c.r, c.caller, ActionRead, store, mailbox)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("decide about access: %w", err)
	case allowed:
		return nil
	case seen:
		return ErrForbidden
	}
	return backends.ErrNotFound
}

// inMailbox authorises a call for the store and the mailbox that its query names.
func (c *call) inMailbox(action Action) error {
	query := c.r.URL.Query()
	c.mailbox = query.Get("mailbox")
	if err := checkMailbox(c.mailbox); err != nil {
		return err
	}
	if err := c.allow(action, query.Get("store"), c.mailbox); err != nil {
		return err
	}
	c.store = c.stores[query.Get("store")]
	return nil
}

// find authorises a call for the request that its path names, and returns it.
func (c *call) find(action Action) (backends.Record, error) {
	c.id = c.r.PathValue("id")
	c.store = c.stores[c.r.URL.Query().Get("store")]
	if err := backends.CheckID(c.id); err != nil {
		return backends.Record{}, invalid("the id: %v", err)
	}
	if c.store == nil {
		return backends.Record{}, backends.ErrNotFound
	}
	if err := c.take(c.bodySize(c.store.maxBody()) + c.store.maxPayload); err != nil {
		return backends.Record{}, err
	}
	rec, err := c.read(c.r.Context(), c.store, c.id)
	if err == nil {
		c.mailbox = rec.Mailbox
		err = c.allow(action, c.store.terms.Store, rec.Mailbox)
	}
	return rec, err
}

func (c *call) read(ctx context.Context, s *store, id string) (backends.Record, error) {
	return timed(ctx, c, func(ctx context.Context) (backends.Record, error) {
		return c.backend.Get(ctx, s.terms.Store, id)
	})
}

// timed calls the backend with a time limit.
func timed[T any](
	ctx context.Context, c *call, do func(context.Context) (T, error)) (result T, err error) {
	limited, cancel := context.WithTimeout(ctx, c.config.CallTimeout)
	defer cancel()
	result, err = do(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return result, err
}

// take holds more bytes of the budget until the call is over.
func (c *call) take(bytes int64) error {
	got, err := c.budgets[c.side].take(c.r.Context(), c.caller, bytes)
	c.held += got
	return err
}

// keep gives back the bytes that the call holds, except this many.
func (c *call) keep(bytes int64) {
	if bytes < c.held {
		c.budgets[c.side].giveBack(c.caller, c.held-bytes)
		c.held = bytes
	}
}

func (c *call) free() { c.keep(0) }

// bodySize returns how large the body can be.
func (c *call) bodySize(limit int64) int64 {
	if c.r.ContentLength >= 0 {
		return min(c.r.ContentLength, limit)
	}
	return limit
}

// decode reads a body of at most limit bytes into v. The caller has been authenticated.
func (c *call) decode(v any, limit int64) error {
	if c.r.ContentLength > limit {
		return fmt.Errorf("%w: a body has at most %d bytes here", errTooLarge, limit)
	}
	allowed := smallBodyTimeout
	if c.bodySize(limit) > smallBody {
		allowed = c.config.BodyTimeout
	}
	_ = c.control.SetReadDeadline(time.Now().Add(allowed)) // not every writer has one
	text := make([]byte, 0, c.bodySize(limit)+1)           // with room to see the end
	text, err := readAll(http.MaxBytesReader(c.w, c.r.Body, limit), text)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%w: a body has at most %d bytes here", errTooLarge, limit)
	case err != nil:
		return fmt.Errorf("%w: %w", errSlowBody, err)
	}
	c.unread = false
	_ = c.control.SetReadDeadline(time.Time{}) // what follows may be a wait
	if err := json.Unmarshal(text, v); err != nil {
		return invalid("the body is not the JSON that is expected here") // err may quote the body
	}
	return nil
}

// readAll is io.ReadAll into a buffer that is large enough in most cases.
func readAll(r io.Reader, text []byte) ([]byte, error) {
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return text, err
		}
	}
}

// answer writes an answer or an error, if the call has not begun one, and returns the status.
func (c *call) answer(answer *body, err error) (status int) {
	if c.status != 0 {
		return c.status
	}
	status = http.StatusOK
	if err != nil {
		var e errorHead
		status, e = encodeError(err)
		answer = new(body).value(e)
		c.errorHeaders(status, e.Code)
	}
	var ended *backends.EndedError
	if errors.As(err, &ended) {
		_, e := encodeError(err)
		answer = new(body).text(fmt.Sprintf(`{"code":%q,"error":%q,"request":`, e.Code, e.Error))
		answer.record(ended.Record).text("}")
	}
	c.keep(answer.size)
	c.begin("application/json", status)
	c.w.Header().Set("Content-Length", strconv.FormatInt(answer.size, 10))
	c.w.WriteHeader(status)
	if answer.writeTo(c.w) == nil && c.control.Flush() == nil && !c.unread {
		_ = c.control.SetWriteDeadline(time.Time{}) // the connection may serve others next
	}
	return status
}

func (c *call) errorHeaders(status int, code string) {
	switch {
	case status == http.StatusUnauthorized:
		c.w.Header().Set("WWW-Authenticate", "Bearer")
	case code == "full":
		c.w.Header().Set("Retry-After", "5")
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		c.w.Header().Set("Retry-After", "1")
	}
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
	attrs := []slog.Attr{slog.String("route", route), slog.Int("status", status),
		slog.Duration("took", time.Since(c.start))}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("caller", c.caller)
	if c.store != nil {
		add("store", c.store.terms.Store)
	}
	add("mailbox", c.mailbox)
	add("request", c.id)
	if gone {
		add("error", "the client has hung up")
	} else if err != nil {
		add("error", err.Error())
	}
	c.config.Logger.LogAttrs(c.r.Context(), level, "served", attrs...)
}

// parseWait returns how long a call may wait. Text is a duration such as 20s; "" is none.
func parseWait(text string) (time.Duration, error) {
	wait, err := time.ParseDuration(cmp.Or(text, "0"))
	if err != nil || wait < 0 {
		return 0, invalid("wait is not a duration such as 20s")
	}
	return min(wait, maxWait), nil
}

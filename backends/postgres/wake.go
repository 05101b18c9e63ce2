package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

const (
	gatherFor   = 10 * time.Millisecond // between two notifications, at least
	listenWait  = time.Second           // how long LISTEN may take before waiters poll
	heartbeat   = 3 * time.Second       // how long a connection may be silent before it is tested
	answerWait  = 5 * time.Second       // how long the server may take to answer the test
	wakePause   = 50 * time.Microsecond // between waiters that may have missed a notification
	longestText = 7900                  // bytes of a notification; PostgreSQL accepts 7,999
)

// everything is a topic that all waiters watch in addition to their own.
const everything = "*"

var _ backends.Waker = (*Backend)(nil)

// A topic is a hash, so a notification contains no names. If two mailboxes share a topic, waiters
// may look once without need.
func mailboxTopic(mailbox string) string { return backends.Digest("mailbox", mailbox)[:13] }
func requestTopic(id string) string      { return backends.Digest("request", id)[:13] }

// WatchMailbox implements [backends.Waker].
func (b *Backend) WatchMailbox(ctx context.Context, mailbox string) (<-chan struct{}, func()) {
	return b.wakes.watch(ctx, mailboxTopic(mailbox))
}

// WatchRequest implements [backends.Waker].
func (b *Backend) WatchRequest(ctx context.Context, id string) (<-chan struct{}, func()) {
	return b.wakes.watch(ctx, requestTopic(id))
}

// PollInterval implements [backends.Waker]: see Options.PollInterval.
func (b *Backend) PollInterval() time.Duration { return b.poll }

// wakes tells waiters of changes. It wakes waiters of this process at once, and waiters of other
// processes by notifications. NOTIFY locks the whole server at commit. So operations do not notify:
// their changes are gathered, and sent on a separate connection. Another connection listens for all
// waiters of the process. Both are opened when they are first needed, and closed with the Backend.
type wakes struct {
	pool     *pgxpool.Pool
	channel  string
	self     string // a random name of this process, the first word of its notifications
	pollOnly bool   // tells only the waiters of this process
	hub      wake.Hub

	ctx   context.Context // ends with the Backend
	end   context.CancelFunc
	tasks sync.WaitGroup
	kick  chan struct{} // there are topics to send
	taken chan struct{} // a connection has left the pool

	mu        sync.Mutex
	told      map[string]struct{} // topics to send
	telling   bool
	listening bool
	up        chan struct{} // closed while the process listens
}

func newWakes(pool *pgxpool.Pool, channel string, pollOnly bool) *wakes {
	w := &wakes{pool: pool, channel: channel, self: rand.Text(),
		pollOnly: pollOnly, kick: make(chan struct{}, 1), taken: make(chan struct{}, 1),
		told: map[string]struct{}{}, up: make(chan struct{})}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

func (w *wakes) close() {
	w.mu.Lock()
	w.end()
	w.mu.Unlock()
	w.tasks.Wait()
}

// tell wakes the waiters of a topic, here and elsewhere.
func (w *wakes) tell(topic string) {
	w.hub.Wake(topic)
	if w.pollOnly {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return
	}
	w.told[topic] = struct{}{}
	if !w.telling {
		w.telling = true
		w.tasks.Go(w.send)
	}
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// send sends gathered wake-ups until the Backend is closed, and then once more.
func (w *wakes) send() {
	ctx := context.WithoutCancel(w.ctx) // a notification that has begun is finished
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	for failures := 0; ; {
		select {
		case <-w.kick:
		case <-w.ctx.Done():
		}
		closed := w.ctx.Err() != nil
		var err error
		conn, err = w.notify(ctx, conn)
		switch {
		case closed:
			return
		case err == nil:
			failures = 0
			_ = poll.Sleep(w.ctx, gatherFor)
		default:
			w.tellAll()
			w.backOff(failures)
			failures++
		}
	}
}

// tellAll makes the next notification wake all waiters. It replaces earlier wake-ups, which may be
// lost.
func (w *wakes) tellAll() {
	w.mu.Lock()
	w.told = map[string]struct{}{everything: {}}
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// notify sends the gathered wake-ups. It returns the connection for the next call, or nil after an
// error.
func (w *wakes) notify(ctx context.Context, conn *pgx.Conn) (*pgx.Conn, error) {
	texts := w.take()
	if len(texts) == 0 {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	if conn == nil {
		var err error
		if conn, err = w.connect(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := conn.Exec(ctx, "SELECT pg_notify($1, text) FROM unnest($2::text[]) AS text",
		w.channel, texts); err != nil {
		hangUp(conn)
		return nil, err
	}
	return conn, nil
}

// take removes the gathered wake-ups and returns them as the texts of notifications.
func (w *wakes) take() (texts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := []byte(w.self)
	for topic := range w.told {
		if len(text)+len(topic) >= longestText {
			texts, text = append(texts, string(text)), text[:len(w.self)]
		}
		text = append(append(text, ' '), topic...)
	}
	if clear(w.told); len(text) > len(w.self) {
		texts = append(texts, string(text))
	}
	return texts
}

// connect takes a connection out of the pool for good.
func (w *wakes) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	own := conn.Hijack()
	select {
	case w.taken <- struct{}{}:
	default:
	}
	return own, nil
}

// hangUp closes a connection without waiting for a server that does not answer.
func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// watch signals changes of a topic. It first waits until the process listens, but not longer than
// listenWait. Then no change of another process is missed.
func (w *wakes) watch(ctx context.Context, topic string) (<-chan struct{}, func()) {
	signal, stop := w.hub.Watch(topic, everything)
	if w.pollOnly {
		return signal, stop
	}
	timeout := time.NewTimer(listenWait)
	defer timeout.Stop()
	select {
	case <-w.listen():
	case <-timeout.C:
	case <-ctx.Done():
	case <-w.ctx.Done():
	}
	return signal, stop
}

// listen starts to listen, unless the process does already. The channel is closed once it listens.
func (w *wakes) listen() (up <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.listening && w.ctx.Err() == nil {
		w.listening = true
		w.tasks.Go(w.receive)
		w.tasks.Go(w.noticeClose)
	}
	return w.up
}

// receive listens until the Backend is closed.
func (w *wakes) receive() {
	for failures := 0; w.ctx.Err() == nil; failures++ {
		if w.receiveOn() {
			failures = 0
		}
		w.backOff(failures)
	}
}

// receiveOn listens on one connection until it is lost. It reports whether it ever listened.
func (w *wakes) receiveOn() bool {
	ctx, cancel := context.WithTimeout(w.ctx, answerWait)
	defer cancel()
	conn, err := w.connect(ctx)
	if err != nil {
		return false
	}
	defer hangUp(conn)
	if _, err := conn.Exec(ctx, "LISTEN "+w.channel); err != nil {
		return false
	}
	w.mu.Lock()
	up := w.up
	w.mu.Unlock()
	close(up)
	w.hub.WakeSlowly(everything, wakePause) // waiters that looked earlier may have missed a change
	for w.receiveOne(conn) == nil {
	}
	w.mu.Lock()
	w.up = make(chan struct{})
	w.mu.Unlock()
	return true
}

// receiveOne handles a notification, or tests whether a silent connection still works.
func (w *wakes) receiveOne(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(w.ctx, heartbeat)
	defer cancel()
	n, err := conn.WaitForNotification(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !conn.IsClosed() {
		ctx, cancel := context.WithTimeout(w.ctx, answerWait)
		defer cancel()
		return conn.Ping(ctx)
	}
	if err != nil {
		return err
	}
	if strings.HasPrefix(n.Payload, w.self+" ") {
		return nil // tell has woken the waiters of this process
	}
	for topic := range strings.FieldsSeq(n.Payload) {
		if topic == everything {
			w.hub.WakeSlowly(everything, wakePause)
			continue
		}
		w.hub.Wake(topic)
	}
	return nil
}

// noticeClose wakes all waiters when the pool is closed: they look, and get its error. A pool has
// no signal for this, but it closes its idle connections. So noticeClose watches one of them. If
// that connection leaves the pool, noticeClose watches another one. It pauses after a connection
// that has ended early: the AfterRelease of a pool may end each.
func (w *wakes) noticeClose() {
	for failures := 0; w.ctx.Err() == nil; failures++ {
		ctx, cancel := context.WithTimeout(w.ctx, answerWait)
		conn, err := w.pool.Acquire(ctx)
		cancel()
		if errors.Is(err, puddle.ErrClosedPool) {
			w.hub.WakeSlowly(everything, wakePause)
			return
		}
		if err != nil {
			w.backOff(failures)
			continue
		}
		since, closed := time.Now(), conn.Conn().PgConn().CleanupDone()
		conn.Release()
		select {
		case <-closed:
			if time.Since(since) > answerWait {
				failures = 0
			}
			w.backOff(failures)
		case <-w.taken:
			failures = 0
		case <-w.ctx.Done():
		}
	}
}

// backOff waits before the next attempt, longer after each failure in a row. Half of the wait is
// random.
func (w *wakes) backOff(failures int) {
	_ = poll.Sleep(w.ctx, poll.Jitter(poll.Pause(failures, 50*time.Millisecond, answerWait)))
}

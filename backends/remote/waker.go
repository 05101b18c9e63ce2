package remote

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

const (
	settleTime   = time.Second      // how long a waiter is kept until it may look
	pollInterval = 15 * time.Second // of waiters, in case a signal is lost
	alonePoll    = 2 * time.Second  // while the server takes no watch
	renewTime    = 45 * time.Second // a stream is replaced before the server ends it
	silence      = 3 * alive        // a connection that is silent as long is lost
	wakePause    = time.Millisecond // between two waiters that ask the server
	maxEvent     = 1 << 20          // bytes; one with a reason may have 100 KiB
	maxWatchBody = smallBody - 1<<10
)

// WatchMailbox implements [backends.Waker].
func (c *Client) WatchMailbox(ctx context.Context, mailbox string) (<-chan struct{}, func()) {
	return c.waits.watch(ctx, topic{mailbox: mailbox})
}

// WatchRequest implements [backends.Waker].
func (c *Client) WatchRequest(ctx context.Context, id string) (<-chan struct{}, func()) {
	return c.waits.watch(ctx, topic{request: id})
}

// PollInterval implements [backends.Waker]: 15 s, or 2 s while the server cannot be watched.
func (c *Client) PollInterval() time.Duration {
	c.waits.mu.Lock()
	defer c.waits.mu.Unlock()
	if c.waits.failures > 0 {
		return alonePoll
	}
	return pollInterval
}

// topic is a mailbox or a request that waiters wait for.
type topic struct{ mailbox, request string }

func (t topic) key() string { return t.mailbox + "\xff" + t.request } // no name has that byte

// size is how large the topic's name in a body can be.
func (t topic) size() int { return 6*(len(t.mailbox)+len(t.request)) + 3 }

// waits are the streams of a Client. Each is the answer to a watch. A new topic opens a new stream.
// The new stream takes over the topics of streams that are not much larger. So a Client has few
// streams, and each topic moves seldom. An old stream ends after the new one is confirmed.
type waits struct {
	client *Client
	hub    wake.Hub
	ctx    context.Context // ends with the Client
	end    context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex
	topics   map[topic]*watched
	placing  bool // a goroutine looks after topics without a stream
	failures int  // in a row
}

// watched is a topic that has waiters, or had some a moment ago.
type watched struct {
	waiters int
	stream  *stream // nil until the server has confirmed it

	// settled ends when the first attempt to watch the topic succeeds, fails or takes settleTime.
	// Until then a new waiter waits for the attempt.
	settled context.Context
	settle  context.CancelFunc
}

// stream is the answer to a watch that the server has confirmed.
type stream struct {
	topics []topic
	due    bool // is to be replaced
	resp   *http.Response
	hangUp context.CancelFunc
}

func newWaits(c *Client) *waits {
	w := &waits{client: c, topics: map[topic]*watched{}}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

func (w *waits) close() {
	w.mu.Lock()
	w.end() // from now on place starts nothing
	w.mu.Unlock()
	w.tasks.Wait()
}

// watch signals changes of a topic. It first waits until the topic has settled.
func (w *waits) watch(ctx context.Context, t topic) (<-chan struct{}, func()) {
	signal, stop := w.hub.Watch(t.key())
	entry := w.join(t)
	select {
	case <-entry.settled.Done():
	case <-ctx.Done():
	}
	return signal, func() {
		stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		entry.waiters--
	}
}

// join counts a waiter of a topic.
func (w *waits) join(t topic) *watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	entry := w.topics[t]
	if entry == nil {
		entry = &watched{}
		entry.settled, entry.settle = context.WithTimeout(w.ctx, settleTime)
		w.topics[t] = entry
		w.place()
	}
	entry.waiters++
	return entry
}

// place starts placeAll, unless it runs. The caller holds the lock.
func (w *waits) place() {
	if !w.placing && w.ctx.Err() == nil {
		w.placing = true
		w.tasks.Go(w.placeAll)
	}
}

// placeAll opens streams until each topic has one.
func (w *waits) placeAll() {
	for {
		topics, replaced := w.gather()
		if topics == nil && replaced == nil {
			return
		}
		var s *stream
		var err error
		var pause time.Duration
		if topics != nil {
			s, pause, err = w.open(topics)
		}
		w.placed(topics, replaced, s, err)
		if err != nil {
			w.client.logger.Debug("watch", "error", err)
			pause = max(pause, poll.Jitter(poll.Pause(w.failures, minPause, maxPause)))
			if poll.Sleep(w.ctx, pause) != nil {
				return
			}
		}
	}
}

// gather returns topics for a new stream, and streams that it replaces. It returns nothing if there
// is nothing to do.
func (w *waits) gather() (topics []topic, replaced []*stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := 0
	add := func(more ...topic) bool {
		larger := size
		for _, t := range more {
			larger += t.size()
		}
		if larger > maxWatchBody || len(topics)+len(more) > maxTopics {
			return false
		}
		topics, size = append(topics, more...), larger
		return true
	}
	inUse := map[*stream][]topic{} // topics that have waiters
	for t, entry := range w.topics {
		s := entry.stream
		if _, known := inUse[s]; s != nil && !known {
			inUse[s] = nil
		}
		switch {
		case entry.waiters == 0 && (s == nil || s.due):
			delete(w.topics, t)
		case s == nil:
			add(t)
		case entry.waiters > 0:
			inUse[s] = append(inUse[s], t)
		}
	}
	for s, more := range inUse {
		small := len(topics) > 0 && len(s.topics) <= 2*len(topics)
		if (s.due || small) && add(more...) {
			replaced = append(replaced, s)
		}
	}
	w.placing = len(topics) > 0 || len(replaced) > 0
	return topics, replaced
}

// placed notes that a stream of topics was confirmed, or has failed. It ends the replaced streams.
// It wakes the waiters of topics that had settled before: they may have missed a change meanwhile,
// and the last events of a replaced stream may go unread.
func (w *waits) placed(topics []topic, replaced []*stream, s *stream, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failures++; err == nil {
		w.failures = 0
	}
	var pause time.Duration
	for _, t := range topics {
		entry := w.topics[t]
		if entry == nil {
			continue // its last waiter has gone meanwhile
		}
		if err == nil && entry.settled.Err() != nil {
			time.AfterFunc(pause, func() { w.hub.WakeSlowly(t.key(), wakePause) })
			pause += time.Duration(entry.waiters) * wakePause
		}
		entry.settle()
		if err == nil {
			entry.stream = s
		}
	}
	if err != nil {
		return
	}
	for _, old := range replaced {
		w.forget(old)
		old.hangUp()
	}
	if s != nil {
		w.tasks.Go(func() { w.receive(s) })
	}
}

// forget forgets the topics of an ended stream, if they have no waiters. The others need another
// stream.
func (w *waits) forget(s *stream) {
	for _, t := range s.topics {
		entry := w.topics[t]
		switch {
		case entry == nil || entry.stream != s:
		case entry.waiters == 0:
			delete(w.topics, t)
		default:
			entry.stream = nil
		}
	}
}

// open opens a stream and waits until the server confirms it.
func (w *waits) open(topics []topic) (*stream, time.Duration, error) {
	ctx, cancel := context.WithCancelCause(w.ctx)
	s := &stream{topics: topics, hangUp: func() { cancel(nil) }}
	var b watchBody
	for _, t := range topics {
		if t.mailbox != "" {
			b.Mailboxes = append(b.Mailboxes, t.mailbox)
		} else {
			b.Requests = append(b.Requests, t.request)
		}
	}
	timer := time.AfterFunc(answerTimeout, func() { cancel(errNoAnswer) })
	defer timer.Stop()
	var pause time.Duration
	var err error
	s.resp, err = w.client.send(ctx, operation{http.MethodPost, "/watch", nil,
		appendJSON(nil, b)})
	if err == nil && s.resp.StatusCode != http.StatusOK {
		_, pause, err = w.client.refusal(s.resp)
		s.resp.Body.Close()
	}
	if err != nil {
		err = cmp.Or(context.Cause(ctx), err)
		s.hangUp()
		return nil, pause, fmt.Errorf("remote: watch: %w", err)
	}
	return s, 0, nil
}

// receive wakes waiters until the stream ends, or is silent for too long.
func (w *waits) receive(s *stream) {
	defer s.resp.Body.Close()
	defer s.hangUp()
	renew := time.AfterFunc(renewTime, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		s.due = true
		w.place()
	})
	defer renew.Stop()
	quiet := time.AfterFunc(silence, s.hangUp)
	defer quiet.Stop()
	start := time.Now()
	lines := bufio.NewScanner(s.resp.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		quiet.Reset(silence)
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Mailbox+e.Request != "" {
			w.hub.Wake(topic{e.Mailbox, e.Request}.key())
		}
	}
	if time.Since(start) < settleTime { // the next one may end at once, too
		w.client.logger.Debug("a watch has ended at once", "error", lines.Err())
		_ = poll.Sleep(w.ctx, poll.Jitter(maxPause))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(s)
	w.place()
}

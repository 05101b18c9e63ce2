package remote

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
)

const (
	maxWait     = time.Minute
	blindPoll   = 500 * time.Millisecond // where the backend cannot signal
	claimPoll   = time.Second            // over Redis a claim sends no signal
	alive       = 15 * time.Second       // between two signs of life of a stream
	lineTimeout = 10 * time.Second       // for a client to take a line
	slack       = time.Millisecond       // until the backend's clock is past a deadline, too
)

// watcher signals changes of a mailbox or a request.
type watcher struct {
	signal <-chan struct{}
	poll   time.Duration // how long to trust silence; 0: for ever
	stop   func()
}

// newWatcher starts to watch with a method of the backend's Waker.
func (s *Server) newWatcher(ctx context.Context, what string,
	start func(backends.Waker, context.Context, string) (<-chan struct{}, func())) watcher {
	waker, ok := backends.As[backends.Waker](s.backend)
	if !ok {
		return watcher{poll: blindPoll, stop: func() {}}
	}
	signal, stop := start(waker, ctx, what)
	return watcher{signal, waker.PollInterval(), stop}
}

// wait returns when it is time to look again, after atMost at the latest, or when ctx has ended.
func (w watcher) wait(ctx context.Context, atMost time.Duration) {
	if w.poll > 0 {
		atMost = min(atMost, w.poll)
	}
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-w.signal:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// park takes a place to wait in, for so long. It ends earlier if the server drains or the client
// hangs up. The caller calls leave.
func (c *call) park(side side, wait time.Duration, mailboxes ...string) (
	ctx context.Context, leave func(), err error) {
	free, ok := c.parked[side].enter(c.caller, mailboxes)
	if !ok {
		return nil, nil, ErrTooMany
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	stop := context.AfterFunc(c.draining, cancel)
	return ctx, func() {
		stop()
		cancel()
		free()
	}, nil
}

// get reads a request, at once or when it has ended.
func (c *call) get() (*body, error) {
	wait, err := parseWait(c.r.URL.Query().Get("wait"))
	if err != nil {
		return nil, err
	}
	rec, err := c.find(ActionRead)
	if err != nil || wait == 0 || rec.Ended() {
		return answerRecord(rec, err)
	}
	ctx, leave, err := c.park(front, wait, c.mailbox)
	if err != nil {
		return nil, err
	}
	defer leave()
	rec = backends.Record{} // while the call waits, it holds nothing
	c.keep(0)
	err = c.follow(ctx, maxWait, func(now backends.Record) bool {
		rec = now
		return now.Ended()
	})
	return answerRecord(rec, err)
}

// follow calls see with the call's request, now and whenever the request may have changed, until
// see returns true. When ctx has ended, it calls see once more and stops. It reads the request at
// least once in an interval.
func (c *call) follow(
	ctx context.Context, interval time.Duration, see func(backends.Record) (done bool)) error {
	w := c.newWatcher(ctx, c.id, backends.Waker.WatchRequest)
	defer w.stop()
	for {
		if err := c.take(c.store.maxPayload); err != nil {
			return err
		}
		last := ctx.Err() != nil
		rec, err := c.read(c.r.Context(), c.store, c.id)
		if err != nil || see(rec) || last {
			return err
		}
		untilDeadline := rec.Deadline.Sub(rec.ReadAt) + slack
		rec = backends.Record{}
		c.keep(0)
		w.wait(ctx, min(untilDeadline, interval))
	}
}

// stream is an answer in parts. The client must take each part in time.
type stream struct{ *call }

// stream begins an answer in parts.
func (c *call) stream(contentType string) stream {
	c.begin(contentType, http.StatusOK)
	c.hangUpAfterwards() // its last bytes are written without a deadline
	c.w.WriteHeader(http.StatusOK)
	_ = c.control.Flush() // the first part may take a while
	return stream{c}
}

func (s stream) write(b *body) error { return s.send(b.text("\n")) }

// send sends a part. It has the time of a line, or that of an answer if it is large.
func (s stream) send(b *body) error {
	limit := lineTimeout
	if b.size > smallBody {
		limit = max(limit, s.config.BodyTimeout)
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(limit))
	if err := b.writeTo(s.w); err != nil {
		return err
	}
	return s.control.Flush()
}

// events sends a request as it stands and after each change, until it has ended, as server-sent
// events. A browser that connects again after that is told to stop, with 204.
func (c *call) events() (*body, error) {
	rec, err := c.find(ActionRead)
	if err != nil {
		return nil, err
	}
	last := c.r.Header.Get("Last-Event-ID")
	if rec.Ended() && last == version(rec) {
		c.begin("text/event-stream", http.StatusNoContent)
		c.w.WriteHeader(http.StatusNoContent)
		return nil, nil
	}
	rec = backends.Record{}
	c.keep(0)
	ctx, leave, err := c.park(front, maxWait, c.mailbox)
	if err != nil {
		return nil, err
	}
	defer leave()
	s := c.stream("text/event-stream")
	quietSince := time.Now()
	err = c.follow(ctx, claimPoll, func(now backends.Record) bool {
		part := new(body)
		switch {
		case version(now) != last:
			last = version(now)
			part.text("id: " + last + "\nevent: request\ndata: ").record(now).text("\n\n")
		case time.Since(quietSince) > alive:
			part.text(": alive\n\n")
		default:
			return now.Ended()
		}
		quietSince = time.Now()
		c.keep(part.size)
		return s.send(part) != nil || now.Ended()
	})
	return nil, err
}

// version tells two states of a request apart.
func version(r backends.Record) string {
	return fmt.Sprintf("%s.%d.%d", r.Status, r.Attempt, r.UpdatedAt.UnixMicro())
}

// watch tells a client which mailboxes may have got requests and which requests have changed. A
// mailbox or request that the caller may not see gives no signal.
func (c *call) watch() (*body, error) {
	var b watchBody
	if err := c.decode(&b, smallBody); err != nil {
		return nil, err
	}
	wait := maxWait
	if b.WaitMS > 0 {
		wait = min(wait, time.Duration(b.WaitMS)*time.Millisecond)
	}
	if len(b.Mailboxes)+len(b.Requests) > maxTopics || b.WaitMS < 0 {
		return nil, invalid("a watch has at most %d mailboxes and requests", maxTopics)
	}
	mailboxes, err := c.claimable(b.Mailboxes)
	if err != nil {
		return nil, err
	}
	if len(mailboxes) == 0 && !c.works(b.Requests) {
		c.side = front
	}
	ctx, leave, err := c.park(c.side, wait, mailboxes...)
	if err != nil {
		return nil, err
	}
	defer leave()
	return nil, c.signals(ctx, mailboxes, b.Requests)
}

// claimable returns the mailboxes that the caller may claim from.
func (c *call) claimable(mailboxes []string) (allowed []string, err error) {
	for _, mailbox := range mailboxes {
		for name := range c.stores {
			if checkMailbox(mailbox) != nil {
				break
			}
			may, err := c.config.Access.Allow(c.r, c.caller, ActionClaim, name, mailbox)
			if err != nil {
				return nil, err
			}
			if may {
				allowed = append(allowed, mailbox)
				break
			}
		}
	}
	return allowed, nil
}

// signals sends an event for each signal until ctx ends.
func (c *call) signals(ctx context.Context, mailboxes, requests []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := make(chan event)
	var ready, tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	each := func(name string, see func(context.Context, string) (event, bool),
		start func(backends.Waker, context.Context, string) (<-chan struct{}, func())) {
		ready.Add(1)
		tasks.Go(func() {
			w := c.newWatcher(ctx, name, start)
			defer w.stop()
			ready.Done()
			c.forward(ctx, w, func() (event, bool) { return see(ctx, name) }, out)
		})
	}
	for _, mailbox := range mailboxes {
		each(mailbox, func(_ context.Context, name string) (event, bool) {
			return event{Mailbox: name}, true
		}, backends.Waker.WatchMailbox)
	}
	for _, id := range requests {
		if backends.CheckID(id) == nil {
			each(id, c.changedRequest, backends.Waker.WatchRequest)
		}
	}
	ready.Wait()
	return c.sendEvents(ctx, out)
}

// sendEvents sends the first event of a watch, and then the events of a channel.
func (c *call) sendEvents(ctx context.Context, events <-chan event) error {
	s := c.stream("application/x-ndjson")
	for next := (event{Watching: true}); ; {
		if s.write(new(body).value(next)) != nil {
			return nil // the client has gone
		}
		select {
		case next = <-events:
		case <-time.After(alive):
			next = event{}
		case <-ctx.Done():
			return nil
		}
	}
}

// forward sends the event of see after each signal of a watcher. It also sends one at once if the
// request has been cancelled: the worker may have claimed it a moment before.
func (c *call) forward(
	ctx context.Context, w watcher, see func() (event, bool), out chan<- event) {
	var blind <-chan time.Time
	if w.signal == nil {
		ticker := time.NewTicker(w.poll)
		defer ticker.Stop()
		blind = ticker.C
	}
	e, ok := see()
	for ok = ok && e.CancelledAs != ""; ; e, ok = see() {
		if ok {
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
		select {
		case <-w.signal:
		case <-blind:
		case <-ctx.Done():
			return
		}
	}
}

// works reports whether the caller may report on the first of these requests that it may read. The
// poll of a busy worker names no mailbox, but the requests that it works on.
func (c *call) works(ids []string) bool {
	for _, id := range ids {
		if s, rec := c.lookUp(c.r.Context(), id); s != nil {
			return c.allow(ActionReport, s.terms.Store, rec.Mailbox) == nil
		}
	}
	return false
}

// changedRequest returns the event of a request, and false if there is none for the caller.
func (c *call) changedRequest(ctx context.Context, id string) (event, bool) {
	s, rec := c.lookUp(ctx, id)
	return event{Request: id, Status: rec.Status, CancelledAs: rec.CancelledAs,
		CancelReason: rec.CancelReason}, s != nil
}

// lookUp returns a request without its payload, and its store. The store is nil if there is none
// that the caller may read. A watch looks one up after the other.
func (c *call) lookUp(ctx context.Context, id string) (*store, backends.Record) {
	if backends.CheckID(id) != nil {
		return nil, backends.Record{}
	}
	c.looking.Lock()
	defer c.looking.Unlock()
	for _, s := range c.stores {
		held, err := c.budgets[c.side].take(ctx, c.caller, s.maxPayload)
		if err != nil {
			return nil, backends.Record{}
		}
		rec, err := c.read(ctx, s, id)
		rec.Payload = nil
		c.budgets[c.side].giveBack(c.caller, held)
		if err == nil && c.allow(ActionRead, s.terms.Store, rec.Mailbox) == nil {
			return s, rec
		}
	}
	return nil, backends.Record{}
}

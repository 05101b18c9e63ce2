package remote

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

const (
	maxWait     = time.Minute
	claimPoll   = time.Second      // over Redis a claim sends no signal
	alive       = 15 * time.Second // between two signs of life of a stream
	lineTimeout = 10 * time.Second // for a client to take a line
	slack       = time.Millisecond // until the backend's clock is past a deadline, too
	maxTopics   = 4000             // mailboxes and requests of a watch
	lookAgain   = time.Second      // after a watch could not look a request up
)

// get reads a request, at once or when it has ended.
func (c *call) get() ([]byte, error) {
	wait, err := time.ParseDuration(cmp.Or(c.query.Get("wait"), "0"))
	if err != nil || wait < 0 {
		return nil, check.Invalid("wait is not a duration such as 20s")
	}
	rec, err := c.find(ActionRead)
	if err != nil || wait == 0 || rec.Ended() {
		return answerRecord(rec, err)
	}
	rec = backends.Record{} // while the call waits, it holds nothing
	err = c.follow(min(wait, maxWait), maxWait, func(now backends.Record) bool {
		rec = now
		return now.Ended()
	})
	return answerRecord(rec, err)
}

// follow calls see with the call's request, now and whenever the request may have changed, until
// see returns true. When the wait is over, it calls see once more and stops. It reads the request
// at least once in an interval.
func (c *call) follow(wait, interval time.Duration, see func(backends.Record) (done bool)) error {
	c.keep(0)
	ctx, leave, err := c.park(front, wait, c.mailbox)
	if err != nil {
		return err
	}
	defer leave()
	w := wake.Watch(ctx, c.backend, c.id, backends.Waker.WatchRequest)
	defer w.Stop()
	for {
		if err := c.take(c.store.maxPayload()); err != nil {
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
		_ = w.Wait(ctx, min(untilDeadline, interval))
	}
}

// stream begins an answer in parts.
func (c *call) stream(contentType string, status int) {
	c.begin(contentType, status)
	c.hangUpAfterwards() // the deadline of the last bytes stays with the connection

	// Without this header, nginx keeps the parts until it has many.
	c.w.Header().Set("X-Accel-Buffering", "no")
	c.w.WriteHeader(status)
	_ = c.control.Flush() // the first part may take a while
}

// send sends a part. The client must take the part within lineTimeout, or a large part within
// Config.BodyTimeout. Until the next part there is no deadline: at a deadline, HTTP/2 ends even an
// idle stream.
func (c *call) send(part []byte) error {
	limit := lineTimeout
	if len(part) > smallBody {
		limit = max(limit, c.config.BodyTimeout)
	}
	_ = c.control.SetWriteDeadline(time.Now().Add(limit))
	_, err := c.w.Write(part)
	err = cmp.Or(err, c.control.Flush())
	_ = c.control.SetWriteDeadline(time.Time{})
	return err
}

// events sends a request as it stands and after each change, until it has ended, as server-sent
// events. A browser that connects again after that is told to stop, with 204.
func (c *call) events() ([]byte, error) {
	rec, err := c.find(ActionRead)
	if err != nil {
		return nil, err
	}
	last := c.r.Header.Get("Last-Event-ID")
	if rec.Ended() && last == version(rec) {
		c.stream("text/event-stream", http.StatusNoContent)
		return nil, nil
	}
	quietSince := time.Now()
	return nil, c.follow(maxWait, claimPoll, func(now backends.Record) bool {
		if c.status == 0 {
			c.stream("text/event-stream", http.StatusOK)
		}
		var part []byte
		switch {
		case version(now) != last:
			last = version(now)
			part = append(part, "id: "+last+"\nevent: request\ndata: "...)
			part = append(appendLine(part, now), "\n\n"...)
		case time.Since(quietSince) > alive:
			part = []byte(": alive\n\n")
		default:
			return now.Ended()
		}
		quietSince = time.Now()
		ended := now.Ended()
		now = backends.Record{}
		c.keep(int64(len(part)))
		return c.send(part) != nil || ended
	})
}

// version tells two states of a request apart.
func version(r backends.Record) string {
	return fmt.Sprintf("%s.%d.%d", r.Status, r.Attempt, r.UpdatedAt.UnixMicro())
}

// watch tells a client which mailboxes may have got requests and which requests have changed. A
// mailbox or request that the caller may not see gives no signal.
func (c *call) watch() ([]byte, error) {
	var b watchBody
	if err := c.decode(&b, smallBody); err != nil {
		return nil, err
	}
	if len(b.Mailboxes)+len(b.Requests) > maxTopics || b.WaitMS < 0 {
		return nil, check.Invalid("a watch has at most %d mailboxes and requests", maxTopics)
	}
	wait := time.Duration(cmp.Or(min(b.WaitMS, maxWait.Milliseconds()), maxWait.Milliseconds()))
	mailboxes, err := c.claimable(b.Mailboxes)
	if err != nil {
		return nil, err
	}
	if len(mailboxes) == 0 {
		c.side = front
		if c.works(b.Requests) {
			c.side = worker
		}
	}
	forget, err := c.follows(len(mailboxes) + len(b.Requests))
	if err != nil {
		return nil, err
	}
	defer forget()
	ctx, leave, err := c.park(c.side, wait*time.Millisecond, mailboxes...)
	if err != nil {
		return nil, err
	}
	defer leave()
	c.signals(ctx, mailboxes, b.Requests)
	return nil, nil
}

// claimable returns the mailboxes that the caller may claim from.
func (c *call) claimable(mailboxes []string) (allowed []string, err error) {
	for _, mailbox := range mailboxes {
		for name := range c.stores {
			if check.Mailbox(mailbox) != nil {
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

// signals sends an event for each signal until ctx ends or the client has gone.
func (c *call) signals(ctx context.Context, mailboxes, requests []string) {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan event)
	var ready, tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	each := func(name string, see func(context.Context, string) (event, error),
		start func(backends.Waker, context.Context, string) (<-chan struct{}, func())) {
		ready.Add(1)
		tasks.Go(func() {
			w := wake.Watch(ctx, c.backend, name, start)
			defer w.Stop()
			ready.Done()
			forward(ctx, w, func() (event, error) { return see(ctx, name) }, events)
		})
	}
	for _, mailbox := range mailboxes {
		each(mailbox, func(_ context.Context, name string) (event, error) {
			return event{Mailbox: name}, nil
		}, backends.Waker.WatchMailbox)
	}
	for _, id := range requests {
		if backends.CheckID(id) == nil {
			each(id, c.changedRequest, backends.Waker.WatchRequest)
		}
	}
	ready.Wait()
	c.stream("application/x-ndjson", http.StatusOK)
	for next := (event{Watching: true}); c.send(append(appendJSON(nil, next), '\n')) == nil; {
		select {
		case next = <-events:
		case <-time.After(alive):
			next = event{}
		case <-ctx.Done():
			return
		}
	}
}

// forward sends the event of see after each signal of a watcher. It also sends one at once if the
// request has been cancelled: the worker may have claimed it a moment before. If see fails, and may
// succeed later, forward calls it again.
func forward(ctx context.Context, w wake.Watcher, see func() (event, error), to chan<- event) {
	if w.Signal != nil {
		w.Poll = nil // the client looks by itself if it hears nothing for long
	}
	for first := true; ; first = false {
		e, err := see()
		for err != nil && codeOf(err).again && poll.Sleep(ctx, lookAgain) == nil {
			e, err = see()
		}
		if err == nil && (!first || e.CancelledAs != "") {
			select {
			case to <- e:
			case <-ctx.Done():
			}
		}
		if w.Wait(ctx, 0) != nil {
			return
		}
	}
}

// works reports whether the caller may report on the first of these requests that it may read. The
// poll of a busy worker names no mailbox, but the requests that it works on.
func (c *call) works(ids []string) bool {
	for _, id := range ids {
		if s, rec, err := c.lookUp(c.r.Context(), id); err == nil {
			return c.allow(ActionReport, s.Name, rec.Mailbox) == nil
		}
	}
	return false
}

// changedRequest returns the event of a request.
func (c *call) changedRequest(ctx context.Context, id string) (event, error) {
	_, rec, err := c.lookUp(ctx, id)
	return event{Request: id, Status: rec.Status, CancelledAs: rec.CancelledAs,
		CancelReason: rec.CancelReason}, err
}

// lookUp returns a request without its payload, and its store. If there is none that the caller may
// read, the error is ErrNotFound. A watch looks one up after the other.
func (c *call) lookUp(ctx context.Context, id string) (*store, backends.Record, error) {
	c.looking.Lock()
	defer c.looking.Unlock()
	if err := cmp.Or(check.ID(id), ctx.Err()); err != nil {
		return nil, backends.Record{}, err
	}
	failed := backends.ErrNotFound
	for _, s := range c.stores {
		if err := c.take(s.maxPayload()); err != nil {
			return nil, backends.Record{}, err
		}
		rec, err := c.read(ctx, s, id)
		rec.Payload = nil
		c.keep(0)
		if err == nil {
			err = c.allow(ActionRead, s.Name, rec.Mailbox)
		}
		if err == nil {
			return s, rec, nil
		}
		if codeOf(err).again {
			failed = err
		}
	}
	return nil, backends.Record{}, failed
}

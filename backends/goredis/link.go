package goredis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// heartbeat is how often a link is pinged. A link that stays silent for as long is lost.
const heartbeat = 3 * time.Second

// link is a connection to a node that wake-ups come through.
type link struct {
	wakes   *wakes
	node    redis.UniversalClient
	pubsub  *redis.PubSub
	heard   atomic.Bool     // something came since the last ping
	ctx     context.Context // ends when this side hangs up
	hangUp  context.CancelFunc
	sending sync.Mutex // keeps the order of wakes.channels and of what is sent the same
}

// run receives until the link is lost or no longer needed. Then it places the channels anew. If the
// client is closed, the waiters look at once, and get its error.
func (l *link) run() {
	w := l.wakes
	w.tasks.Go(l.keepAlive)
	err := l.receive()
	clientClosed := errors.Is(err, redis.ErrClosed) && l.ctx.Err() == nil
	l.hangUp()
	if w.cluster != nil {
		w.cluster.ReloadState(w.ctx)
	}
	orphans := w.orphan(l, clientClosed)
	if len(orphans) > 0 {
		w.pause()
	}
	for _, ch := range orphans {
		w.place(ch)
	}
}

// receive handles messages until the link is lost, and returns why.
func (l *link) receive() error {
	for {
		message, err := l.pubsub.Receive(l.ctx)
		if err != nil {
			return err
		}
		l.heard.Store(true)
		switch m := message.(type) {
		case *redis.Message:
			_, topic := split(m.Payload)
			l.wakes.hub.Wake(topic)
		case *redis.Subscription:
			if err := l.wakes.note(l, m); err != nil {
				return err
			}
		}
	}
}

// subscribe asks for a channel. If that fails, receive fails too.
func (l *link) subscribe(name string) {
	l.sending.Lock()
	defer l.sending.Unlock()
	_ = l.wakes.subscribe(l.pubsub, l.ctx, name)
}

// keepAlive pings, and unsubscribes from channels without waiters. It hangs up when nothing comes,
// or is needed, any more.
func (l *link) keepAlive() {
	defer func() {
		l.hangUp()
		_ = l.pubsub.Close()
	}()
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		if !l.heard.Swap(false) || l.tidy() || l.pubsub.Ping(l.ctx) != nil {
			return
		}
	}
}

// tidy unsubscribes from channels without waiters. It reports whether the link has no others.
func (l *link) tidy() (empty bool) {
	l.sending.Lock()
	defer l.sending.Unlock()
	unused, empty := l.wakes.sweep(l)
	if !empty && len(unused) > 0 {
		_ = l.wakes.unsubscribe(l.pubsub, l.ctx, unused...)
	}
	return empty
}

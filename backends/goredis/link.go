package goredis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// heartbeat is how often a link is pinged. One that was silent for as long after a ping is
	// lost.
	heartbeat = 3 * time.Second

	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// node is a server that a link may listen to.
type node struct {
	client  any // what the link is known by
	listen  func(ctx context.Context, channels ...string) *redis.PubSub
	sharded bool   // with SSUBSCRIBE
	moved   func() // notes that the node may no longer have its channels; may be nil
}

// link is a connection that wake-ups come through.
type link struct {
	at     node
	wakes  *wakes
	pubsub *redis.PubSub
	heard  atomic.Bool   // something came since the last ping
	ended  chan struct{} // closed when nothing is received any more
	hungUp atomic.Bool   // this side has ended it
	hangUp func()

	sending sync.Mutex // what is subscribed to and what is not, in one order here and on the wire
}

func newLink(w *wakes, at node) *link {
	l := &link{at: at, wakes: w, pubsub: at.listen(w.ctx), ended: make(chan struct{})}
	l.hangUp = sync.OnceFunc(func() {
		l.hungUp.Store(true)
		_ = l.pubsub.Close()
	})
	l.heard.Store(true)
	return l
}

// run receives until the link is lost or no longer needed.
func (l *link) run() {
	l.wakes.mu.Lock()
	l.wakes.start(l.keepAlive)
	l.wakes.mu.Unlock()
	err := l.receive()
	clientClosed := errors.Is(err, redis.ErrClosed) && !l.hungUp.Load()
	close(l.ended)
	l.hangUp()
	if l.at.moved != nil {
		l.at.moved()
	}
	l.wakes.lost(l, clientClosed)
}

// receive handles messages until one fails, and returns why.
func (l *link) receive() error {
	for {
		message, err := l.pubsub.Receive(l.wakes.ctx)
		if err != nil {
			return err
		}
		l.heard.Store(true)
		if err := l.handle(message); err != nil {
			return err
		}
	}
}

func (l *link) handle(message any) error {
	switch m := message.(type) {
	case *redis.Message:
		l.wakes.hub.Wake(topicOf(m.Payload))
	case *redis.Subscription:
		if m.Kind == "subscribe" || m.Kind == "ssubscribe" {
			l.wakes.confirm(l, m.Channel)
			return nil
		}
		return l.wakes.unsubscribed(l, m.Channel)
	case *redis.Pong:
	default:
		return errors.New("an unknown kind of message")
	}
	return nil
}

// subscribe asks for a channel. That it cannot is what run finds out, too.
func (l *link) subscribe(name string) {
	l.sending.Lock()
	defer l.sending.Unlock()
	if l.at.sharded {
		_ = l.pubsub.SSubscribe(l.wakes.ctx, name)
	} else {
		_ = l.pubsub.Subscribe(l.wakes.ctx, name)
	}
}

// keepAlive pings, hangs up when nothing comes, and unsubscribes from what nobody waits on.
func (l *link) keepAlive() {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-ticker.C:
		}
		if !l.heard.Swap(false) || l.tidy() || l.pubsub.Ping(l.wakes.ctx) != nil {
			l.hangUp()
			return
		}
	}
}

// tidy unsubscribes from what nobody waits on and reports whether the link has nothing left to do.
func (l *link) tidy() bool {
	l.sending.Lock()
	defer l.sending.Unlock()
	unused, empty := l.wakes.sweep(l)
	switch {
	case empty || len(unused) == 0:
	case l.at.sharded:
		_ = l.pubsub.SUnsubscribe(l.wakes.ctx, unused...)
	default:
		_ = l.pubsub.Unsubscribe(l.wakes.ctx, unused...)
	}
	return empty
}

// backoff is the pause before the next attempt after so many that failed in a row, half of it by
// chance.
func backoff(failures int) time.Duration {
	pause := min(maxBackoff, minBackoff<<min(failures-1, 10))
	return pause/2 + rand.N(pause/2)
}

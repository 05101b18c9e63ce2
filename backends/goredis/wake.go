package goredis

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

const (
	// subscribeWait is how long waiters wait for a subscription before they poll.
	subscribeWait = time.Second

	// linger is how long a subscription without waiters lives. Most waiters soon wait again.
	linger = 30 * time.Second

	// wakePause is the pause between two wake-ups when all waiters of a channel may have missed a
	// signal. It spreads their polls.
	wakePause = 50 * time.Microsecond

	// pingInterval is the time between two pings. A link without a message for this long is lost.
	pingInterval = 3 * time.Second
)

// WatchMailbox implements [backends.Waker].
func (b *Backend) WatchMailbox(ctx context.Context, mailbox string) (<-chan struct{}, func()) {
	return b.wakes.watch(ctx, "q/"+mailbox, b.channel(backends.Partition(mailbox)))
}

// WatchRequest implements [backends.Waker].
func (b *Backend) WatchRequest(ctx context.Context, id string) (<-chan struct{}, func()) {
	return b.wakes.watch(ctx, "r/"+id, b.channel(backends.PartitionOf(id)))
}

// PollInterval implements [backends.Waker]. It returns Options.PollInterval.
func (b *Backend) PollInterval() time.Duration { return b.poll }

// wakes are the subscriptions of a Backend. All waiters share one connection, or on a Cluster one
// for each master in use. A channel has a subscription while it has waiters, and for linger longer.
type wakes struct {
	client  redis.UniversalClient
	cluster clusterClient // the client, if it is one
	hub     wake.Hub      // waiters by topic; also by channel, for note and orphan

	subscribe, unsubscribe func(*redis.PubSub, context.Context, ...string) error

	ctx   context.Context // ends at Close
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex
	channels map[string]*channel
	links    map[redis.UniversalClient]*link
	failures int // failed attempts to subscribe in a row
}

// channel is a channel of Redis that has waiters, or had some recently.
type channel struct {
	name      string
	waiters   int
	used      time.Time // when the latest waiter left
	link      *link     // the link to its node; nil until place has found the node
	confirmed bool      // the server has confirmed the subscription
	refusals  int       // how often in a row a node has refused the subscription

	// settled ends when the first attempt to subscribe succeeds, fails or takes subscribeWait.
	// Until then a new waiter waits for the subscription.
	settled context.Context
	settle  context.CancelFunc
}

func newWakes(client redis.UniversalClient) *wakes {
	w := &wakes{client: client, channels: map[string]*channel{}}
	w.links = map[redis.UniversalClient]*link{}
	w.subscribe, w.unsubscribe = (*redis.PubSub).Subscribe, (*redis.PubSub).Unsubscribe
	if w.cluster, _ = client.(clusterClient); w.cluster != nil {
		w.subscribe, w.unsubscribe = (*redis.PubSub).SSubscribe, (*redis.PubSub).SUnsubscribe
	}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

// watch returns a signal for a topic. It first waits until the channel has settled.
func (w *wakes) watch(ctx context.Context, topic, name string) (<-chan struct{}, func()) {
	signal, stop := w.hub.Watch(topic, name)
	ch := w.join(name)
	select {
	case <-ch.settled.Done():
	case <-ctx.Done():
	}
	return signal, func() {
		stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		ch.waiters--
		ch.used = time.Now()
	}
}

// join adds a waiter to a channel. For the first waiter it subscribes to the channel.
func (w *wakes) join(name string) *channel {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := w.channels[name]
	if ch == nil {
		ch = &channel{name: name}
		ch.settled, ch.settle = context.WithTimeout(w.ctx, subscribeWait)
		w.channels[name] = ch
		if w.ctx.Err() == nil {
			w.tasks.Go(func() { w.place(ch) })
		}
	}
	ch.waiters++
	return ch
}

// place subscribes to channels, each at its node. It retries until it has found the nodes of all
// channels with waiters.
func (w *wakes) place(channels ...*channel) {
	for w.ctx.Err() == nil {
		channels = slices.DeleteFunc(channels, w.placed)
		if len(channels) == 0 {
			return
		}
		w.pause()
	}
}

// placed looks for the node of a channel once, and subscribes to the channel there. It reports
// whether this is done, or is in vain because no waiter is left. If the client is closed, placed
// wakes the waiters. They poll at once and get the client's error.
func (w *wakes) placed(ch *channel) (done bool) {
	node, err := w.locate(w.ctx, ch.name)
	if err == nil {
		l := w.linkTo(ch, node)
		w.tasks.Go(func() { // the node may not answer; others do
			l.sending.Lock()
			defer l.sending.Unlock()
			w.mu.Lock()
			l.asked = append(l.asked, ch.name)
			w.mu.Unlock()
			_ = w.subscribe(l.pubsub, l.ctx, ch.name) // after an error l.receive fails, too
		})
		return true
	}
	ch.settle()
	if errors.Is(err, redis.ErrClosed) {
		w.hub.Wake(ch.name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ch.waiters > 0 {
		return false
	}
	delete(w.channels, ch.name)
	return true
}

// locate returns a client for the node of a channel.
func (w *wakes) locate(ctx context.Context, channel string) (redis.UniversalClient, error) {
	if w.cluster == nil {
		return w.client, nil
	}
	return w.cluster.MasterForKey(ctx, channel)
}

// linkTo assigns a channel to the link to a node. It makes the link if there is none.
func (w *wakes) linkTo(ch *channel, node redis.UniversalClient) *link {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.links[node]
	if l == nil {
		l = &link{wakes: w, node: node, pubsub: node.Subscribe(w.ctx)}
		l.ctx, l.hangUp = context.WithCancel(w.ctx)
		l.heard.Store(true)
		w.links[node] = l
		w.tasks.Go(l.run)
	}
	ch.link = l
	return l
}

// orphan removes a link and its channels without waiters. It returns the other channels of the
// link. If the client is closed, orphan wakes their waiters.
func (w *wakes) orphan(l *link, clientClosed bool) (orphans []*channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.links, l.node)
	for name, ch := range w.channels {
		switch {
		case ch.link != l:
		case ch.waiters == 0:
			delete(w.channels, name)
		default:
			ch.link, ch.confirmed = nil, false
			ch.settle()
			orphans = append(orphans, ch)
			if clientClosed {
				w.hub.Wake(name)
			}
		}
	}
	return orphans
}

// pause waits before the next attempt, longer after each failure in a row, with random jitter.
func (w *wakes) pause() {
	w.mu.Lock()
	pause := poll.Pause(w.failures, 50*time.Millisecond, 5*time.Second)
	w.failures++
	w.mu.Unlock()
	_ = poll.Sleep(w.ctx, poll.Jitter(pause))
}

// note handles the server's message that a subscription has begun or ended. If a subscription
// begins late, its waiters may have missed a signal, so note wakes them. If a subscription ends
// while it is in use, for example because its slot moves to another node, note returns an error.
func (w *wakes) note(l *link, m *redis.Subscription) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	began := m.Kind == "subscribe" || m.Kind == "ssubscribe"
	if at := slices.Index(l.asked, m.Channel); began && at >= 0 {
		l.asked = slices.Delete(l.asked, at, at+1)
	}
	ch := w.channels[m.Channel]
	switch {
	case ch == nil || ch.link != l:
	case began:
		if ch.settled.Err() != nil {
			w.hub.WakeSlowly(ch.name, wakePause)
		}
		ch.settle()
		ch.confirmed, ch.refusals, w.failures = true, 0, 0
	case ch.confirmed:
		return errors.New("the server ended a subscription")
	}
	return nil
}

// try subscribes to a channel once, on a connection of its own. It returns the server's error.
func (w *wakes) try(ctx context.Context, name string) error {
	node, err := w.locate(ctx, name)
	if err != nil {
		return err
	}
	pubsub := node.Subscribe(ctx)
	defer pubsub.Close()
	if err := w.subscribe(pubsub, ctx, name); err != nil {
		return err
	}
	_, err = pubsub.ReceiveTimeout(ctx, subscribeWait)
	return err
}

// link is a connection to a node for wake-ups.
type link struct {
	wakes   *wakes
	node    redis.UniversalClient
	pubsub  *redis.PubSub
	heard   atomic.Bool     // a message has come since the last ping
	ctx     context.Context // hangUp ends it
	hangUp  context.CancelFunc
	sending sync.Mutex // keeps changes of wakes.channels in the order of the sent commands
	asked   []string   // channels whose subscription has no reply yet, in order; under wakes.mu
}

// run receives until the link is lost or unused. Then it subscribes to the link's channels again,
// by way of other links. If the client is closed, the waiters poll at once and get the client's
// error.
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
		w.place(orphans...)
	}
}

// receive handles messages until the link is lost, and returns the reason.
func (l *link) receive() error {
	for {
		message, err := l.pubsub.Receive(l.ctx)
		var answer redis.Error
		if errors.As(err, &answer) && l.refused() {
			l.heard.Store(true)
			continue
		}
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

// refused handles an error reply. On a Cluster a node may refuse one channel, because it does not
// have the slot. Refused places this channel again after a pause. The other channels stay. It
// returns false if the link is useless: it has no other channel, or no reply was due.
func (l *link) refused() bool {
	w := l.wakes
	w.mu.Lock()
	defer w.mu.Unlock()
	inUse := func(ch *channel) bool { return ch.link == l && ch.confirmed }
	if w.cluster == nil || len(l.asked) == 0 ||
		!slices.ContainsFunc(slices.Collect(maps.Values(w.channels)), inUse) {
		return false
	}
	ch := w.channels[l.asked[0]]
	l.asked = l.asked[1:]
	if ch == nil || ch.link != l || ch.confirmed {
		return true
	}
	ch.link = nil
	ch.settle()
	if ch.waiters == 0 {
		delete(w.channels, ch.name)
		return true
	}
	pause := poll.Jitter(poll.Pause(ch.refusals, 50*time.Millisecond, 5*time.Second))
	ch.refusals++
	w.tasks.Go(func() {
		w.cluster.ReloadState(w.ctx)
		if poll.Sleep(w.ctx, pause) == nil {
			w.place(ch)
		}
	})
	return true
}

// keepAlive pings, and unsubscribes from channels without waiters. It hangs up if no message has
// come since the last ping, or if the link has no channels.
func (l *link) keepAlive() {
	defer l.pubsub.Close()
	defer l.hangUp()
	ticker := time.NewTicker(pingInterval)
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

// tidy removes channels that have had no waiters for linger, and unsubscribes from them. It reports
// whether the link has no channel left.
func (l *link) tidy() (empty bool) {
	l.sending.Lock()
	defer l.sending.Unlock()
	w, unused := l.wakes, []string(nil)
	empty = true
	w.mu.Lock()
	for name, ch := range w.channels {
		switch {
		case ch.link != l:
		case ch.waiters == 0 && time.Since(ch.used) > linger:
			delete(w.channels, name)
			unused = append(unused, name)
		default:
			empty = false
		}
	}
	w.mu.Unlock()
	for _, name := range unused {
		if !empty { // one by one: a Cluster refuses a command with channels of different slots
			_ = w.unsubscribe(l.pubsub, l.ctx, name)
		}
	}
	return empty
}

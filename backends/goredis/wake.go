package goredis

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/wake"
)

var _ backends.Waker = (*Backend)(nil)

const (
	// subscribeWait is how long a waiter lets its subscription take before it looks for the first
	// time.
	subscribeWait = time.Second

	// linger is how long a channel stays subscribed when nobody waits on it, since most polls come
	// again soon.
	linger = 30 * time.Second

	// wakePause parts the wake-ups of those who may have missed something, who would otherwise ask
	// all at once.
	wakePause = 50 * time.Microsecond
)

// WatchMailbox implements [backends.Waker].
func (b *Backend) WatchMailbox(ctx context.Context, mailbox string) (<-chan struct{}, func()) {
	return b.wakes.watch(ctx, mailboxTopic(mailbox), b.channel(backends.Partition(mailbox)))
}

// WatchRequest implements [backends.Waker].
func (b *Backend) WatchRequest(ctx context.Context, id string) (<-chan struct{}, func()) {
	return b.wakes.watch(ctx, requestTopic(id), b.channel(backends.PartitionOf(id)))
}

// PollInterval implements [backends.Waker]: see Options.PollInterval.
func (b *Backend) PollInterval() time.Duration { return b.poll }

// wakes are this process's subscriptions: one connection, or on a Cluster one for each master in
// use, however many wait. A channel is subscribed to while somebody waits on it, and a little
// longer.
type wakes struct {
	sharded bool // wake-ups are sent with SPUBLISH
	locate  func(ctx context.Context, channel string) (node, error)
	hub     wake.Hub // those who wait, by topic, and by channel for when something may have been missed

	ctx   context.Context // ends with the Backend
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex
	channels map[string]*channel
	links    map[any]*link // by node.client
	failures int           // links lost since a subscription was confirmed
}

// channel is one that somebody waits on, or did a moment ago.
type channel struct {
	name      string
	waiters   int
	idleSince time.Time // while there are no waiters
	link      *link     // nil while it is being placed
	confirmed bool      // the server has said that it is subscribed to
	missed    bool      // someone looked while it was not: wake them all when it is
	settled   chan struct{}
	settle    sync.Once // closes settled: the first attempt to subscribe has succeeded or failed
}

// watch signals what happens to a topic, once its channel is subscribed to.
func (w *wakes) watch(ctx context.Context, topic, name string) (<-chan struct{}, func()) {
	signal, stop := w.hub.Watch(topic, name)
	ch := w.join(name)
	timer := time.NewTimer(subscribeWait)
	defer timer.Stop()
	select {
	case <-ch.settled:
	case <-timer.C:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ch.confirmed {
		ch.missed = true
	}
	return signal, func() {
		stop()
		w.leave(ch)
	}
}

// join counts a waiter of a channel, and subscribes to it if nobody has.
func (w *wakes) join(name string) *channel {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := w.channels[name]
	if ch == nil {
		ch = &channel{name: name, settled: make(chan struct{})}
		w.channels[name] = ch
		w.start(func() { w.place(ch) })
	}
	if w.ctx.Err() != nil {
		ch.settle.Do(func() { close(ch.settled) })
	}
	ch.waiters++
	return ch
}

func (w *wakes) leave(ch *channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch.waiters--
	if ch.waiters == 0 {
		ch.idleSince = time.Now()
	}
}

// start runs a task unless the Backend is closed. The caller holds mu.
func (w *wakes) start(task func()) {
	if w.ctx.Err() == nil {
		w.tasks.Go(task)
	}
}

// place subscribes to a channel at the node that has it now, however long it takes to find that.
func (w *wakes) place(ch *channel) {
	for w.wanted(ch) {
		at, err := w.locate(w.ctx, ch.name)
		if err == nil {
			w.subscribe(ch, at)
			return
		}
		ch.settle.Do(func() { close(ch.settled) })
		if errors.Is(err, redis.ErrClosed) {
			w.hub.Wake(ch.name)
		}
		w.pause()
	}
}

// wanted reports whether there is still a reason to place a channel. If there is none, it forgets
// the channel.
func (w *wakes) wanted(ch *channel) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ch.waiters == 0 {
		delete(w.channels, ch.name)
	}
	return ch.waiters > 0 && w.ctx.Err() == nil
}

func (w *wakes) subscribe(ch *channel, at node) {
	w.mu.Lock()
	if w.ctx.Err() != nil {
		w.mu.Unlock()
		return
	}
	l := w.links[at.client]
	if l == nil {
		l = newLink(w, at)
		w.links[at.client] = l
		w.start(l.run)
	}
	ch.link = l
	w.mu.Unlock()
	l.subscribe(ch.name)
}

// lost gives up a link and places its channels anew. If the client is closed, the waiters look at
// once, and get its error.
func (w *wakes) lost(l *link, clientClosed bool) {
	orphans := w.orphan(l)
	if len(orphans) == 0 {
		return
	}
	if clientClosed {
		for _, ch := range orphans {
			w.hub.Wake(ch.name)
		}
	}
	w.pause()
	for _, ch := range orphans {
		w.place(ch)
	}
}

// orphan takes a link's channels from it.
func (w *wakes) orphan(l *link) (orphans []*channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(l)
	for _, ch := range w.channels {
		if ch.link == l {
			ch.link, ch.confirmed, ch.missed = nil, false, true
			ch.settle.Do(func() { close(ch.settled) })
			orphans = append(orphans, ch)
		}
	}
	return orphans
}

// unlink forgets a link. The caller holds mu.
func (w *wakes) unlink(l *link) {
	if w.links[l.at.client] == l {
		delete(w.links, l.at.client)
	}
}

// pause waits before the next attempt, longer after each that failed.
func (w *wakes) pause() {
	w.mu.Lock()
	w.failures++
	timer := time.NewTimer(backoff(w.failures))
	w.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
	}
}

// confirm notes that the server has subscribed a link to a channel.
func (w *wakes) confirm(l *link, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := w.channels[name]
	if ch == nil || ch.link != l {
		return
	}
	w.failures = 0
	ch.confirmed = true
	ch.settle.Do(func() { close(ch.settled) })
	if ch.missed {
		ch.missed = false
		w.hub.WakeSlowly(name, wakePause)
	}
}

// unsubscribed reports whether a channel that the server has unsubscribed a link from was still
// wanted, as when its slot has moved to another node.
func (w *wakes) unsubscribed(l *link, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ch := w.channels[name]; ch != nil && ch.link == l && ch.confirmed {
		return errors.New("the server ended a subscription")
	}
	return nil
}

// sweep forgets the link's channels that nobody has waited on for long. It returns their names, and
// whether none remain.
func (w *wakes) sweep(l *link) (unused []string, empty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	empty = true
	for name, ch := range w.channels {
		if ch.link != l {
			continue
		}
		if ch.waiters == 0 && time.Since(ch.idleSince) > linger {
			delete(w.channels, name)
			unused = append(unused, name)
		} else {
			empty = false
		}
	}
	if empty {
		w.unlink(l)
	}
	return unused, empty
}

// close ends all tasks. It holds no lock while it hangs up: a link that waits for its server takes
// seconds.
func (w *wakes) close() {
	w.end()
	w.mu.Lock()
	links := slices.Collect(maps.Values(w.links))
	w.mu.Unlock()
	for _, l := range links {
		l.hangUp()
	}
	w.tasks.Wait()
}

// try subscribes to a channel once, on a connection of its own.
func (w *wakes) try(ctx context.Context, name string) error {
	at, err := w.locate(ctx, name)
	if err != nil {
		return err
	}
	pubsub := at.listen(ctx, name)
	defer pubsub.Close()
	_, err = pubsub.ReceiveTimeout(ctx, subscribeWait)
	return err
}

// newWakes finds out how the client's server is subscribed to.
func newWakes(client redis.UniversalClient) *wakes {
	w := &wakes{channels: map[string]*channel{}, links: map[any]*link{}}
	w.ctx, w.end = context.WithCancel(context.Background())
	w.locate = func(context.Context, string) (node, error) {
		return node{client: client, listen: client.Subscribe}, nil
	}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		w.sharded = true
		w.locate = func(ctx context.Context, channel string) (node, error) { return master(ctx, cluster, channel) }
	}
	return w
}

// master returns the node of a Cluster that has the channel's slot.
func master(ctx context.Context, cluster *redis.ClusterClient, channel string) (node, error) {
	client, err := cluster.MasterForKey(ctx, channel)
	if err != nil {
		return node{}, err
	}
	moved := func() { cluster.ReloadState(context.WithoutCancel(ctx)) }
	return node{client: client, listen: client.SSubscribe, sharded: true, moved: moved}, nil
}

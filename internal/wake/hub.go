// Package wake tells those in this process who wait for something that it may have happened.
package wake

import (
	"slices"
	"sync"
	"time"
)

// Hub knows who waits for which topics. The zero value is ready. It has no goroutine.
type Hub struct {
	mu      sync.Mutex
	waiters map[string][]*waiter
}

type waiter struct {
	signal chan struct{}
	topics []string
}

// Watch returns a channel that gets a signal after each Wake of one of the topics, several in one if nobody took
// the first. It never closes. Stop ends it, and may be called once.
func (h *Hub) Watch(topics ...string) (signal <-chan struct{}, stop func()) {
	w := &waiter{signal: make(chan struct{}, 1), topics: topics}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiters == nil {
		h.waiters = map[string][]*waiter{}
	}
	for _, topic := range topics {
		h.waiters[topic] = append(h.waiters[topic], w)
	}
	return w.signal, func() { h.drop(w) }
}

func (h *Hub) drop(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, topic := range w.topics {
		rest := slices.DeleteFunc(h.waiters[topic], func(other *waiter) bool { return other == w })
		if len(rest) == 0 {
			delete(h.waiters, topic)
		} else {
			h.waiters[topic] = rest
		}
	}
}

// Wake signals everyone who waits for the topic.
func (h *Hub) Wake(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.waiters[topic] {
		w.wake()
	}
}

// WakeSlowly signals everyone who waits for the topic, pause after pause, so that they do not all act at once.
func (h *Hub) WakeSlowly(topic string, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, w := range h.waiters[topic] {
		if i == 0 {
			w.wake()
			continue
		}
		time.AfterFunc(time.Duration(i)*pause, w.wake)
	}
}

func (w *waiter) wake() {
	select {
	case w.signal <- struct{}{}:
	default: // one is there already
	}
}

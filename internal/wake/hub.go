// Package wake sends signals to waiters in this process.
package wake

import (
	"container/list"
	"sync"
	"time"
)

// Hub knows which waiters wait for which topics. The zero value is ready. It has no goroutine. Each
// waiter is added and removed in constant time.
type Hub struct {
	mu      sync.Mutex
	waiters map[string]*list.List // of *waiter, the longest waiting first; none is empty
}

type waiter struct {
	signal chan struct{}
	topics []string
	places []*list.Element // in the list of each topic
}

// Watch returns a channel that receives a signal after each Wake of one of the topics. It holds at
// most one signal and never closes. The caller must call stop once.
func (h *Hub) Watch(topics ...string) (signal <-chan struct{}, stop func()) {
	w := &waiter{signal: make(chan struct{}, 1), topics: topics}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiters == nil {
		h.waiters = map[string]*list.List{}
	}
	for _, topic := range topics {
		if h.waiters[topic] == nil {
			h.waiters[topic] = list.New()
		}
		w.places = append(w.places, h.waiters[topic].PushBack(w))
	}
	return w.signal, func() { h.drop(w) }
}

func (h *Hub) drop(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, topic := range w.topics {
		waiting := h.waiters[topic]
		waiting.Remove(w.places[i])
		if waiting.Len() == 0 {
			delete(h.waiters, topic)
		}
	}
}

// Wake signals all waiters of a topic.
func (h *Hub) Wake(topic string) {
	h.each(topic, func(_ int, w *waiter) { w.wake() })
}

// WakeSlowly signals all waiters of a topic, with a pause between two of them, so that they do not
// all act at once.
func (h *Hub) WakeSlowly(topic string, pause time.Duration) {
	h.each(topic, func(i int, w *waiter) {
		if i == 0 {
			w.wake()
			return
		}
		time.AfterFunc(time.Duration(i)*pause, w.wake)
	})
}

// each calls act with each waiter of a topic and its number.
func (h *Hub) each(topic string, act func(i int, w *waiter)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	waiting := h.waiters[topic]
	if waiting == nil {
		return
	}
	i := 0
	for place := waiting.Front(); place != nil; place = place.Next() {
		act(i, place.Value.(*waiter))
		i++
	}
}

func (w *waiter) wake() {
	select {
	case w.signal <- struct{}{}:
	default: // a signal is already in the channel
	}
}

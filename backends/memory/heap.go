package memory

import (
	stdheap "container/heap"
	"time"
)

// heap is a binary heap of slots by time, the earliest first. A slot is a field of its owner, so
// push allocates no slot. A slot knows its place, so remove takes O(log n) time.
type heap[T any] []*slot[T]

type slot[T any] struct {
	at    time.Time
	owner T
	place int // 1 for the front; 0 outside any heap
}

func (h *heap[T]) push(s *slot[T], at time.Time, owner T) {
	s.at, s.owner = at, owner
	stdheap.Push(h, s)
}

func (h *heap[T]) pop() *slot[T] { return stdheap.Pop(h).(*slot[T]) }

// remove removes the slot if it is in this heap.
func (h *heap[T]) remove(s *slot[T]) {
	if s.place > 0 && s.place <= len(*h) && (*h)[s.place-1] == s {
		stdheap.Remove(h, s.place-1)
	}
}

// move changes the time of a slot of this heap.
func (h *heap[T]) move(s *slot[T], at time.Time) {
	s.at = at
	stdheap.Fix(h, s.place-1)
}

// The methods below implement heap.Interface of package container/heap.

func (h heap[T]) Len() int           { return len(h) }
func (h heap[T]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h heap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h *heap[T]) Push(x any) {
	s := x.(*slot[T])
	*h = append(*h, s)
	s.place = len(*h)
}

func (h *heap[T]) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.place = 0
	return s
}

package memory

import (
	stdheap "container/heap"
	"time"
)

// heap is a binary heap of slots by time, the earliest first. A slot lies inside its owner and knows its
// place, so pushing allocates nothing and removing from the middle costs O(log n).
type heap[T any] []*slot[T]

type slot[T any] struct {
	at    time.Time
	owner T
	place int // 1 for the front; 0 while in no heap
}

func (h *heap[T]) push(s *slot[T], at time.Time, owner T) {
	s.at, s.owner = at, owner
	stdheap.Push((*ordered[T])(h), s)
}

func (h *heap[T]) pop() *slot[T] {
	return stdheap.Pop((*ordered[T])(h)).(*slot[T])
}

// holds reports whether the slot is in this heap, and not in none or in another.
func (h heap[T]) holds(s *slot[T]) bool {
	return s.place > 0 && s.place <= len(h) && h[s.place-1] == s
}

// remove takes the slot out if it is in this heap.
func (h *heap[T]) remove(s *slot[T]) {
	if h.holds(s) {
		stdheap.Remove((*ordered[T])(h), s.place-1)
	}
}

// move gives a slot of this heap another time.
func (h *heap[T]) move(s *slot[T], at time.Time) {
	s.at = at
	stdheap.Fix((*ordered[T])(h), s.place-1)
}

// ordered is the heap as container/heap wants it.
type ordered[T any] []*slot[T]

func (o ordered[T]) Len() int           { return len(o) }
func (o ordered[T]) Less(i, j int) bool { return o[i].at.Before(o[j].at) }

func (o ordered[T]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i+1, j+1
}

func (o *ordered[T]) Push(x any) {
	s := x.(*slot[T])
	*o = append(*o, s)
	s.place = len(*o)
}

func (o *ordered[T]) Pop() any {
	last := len(*o) - 1
	s := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	s.place = 0
	return s
}

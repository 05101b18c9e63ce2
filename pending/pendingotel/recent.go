package pendingotel

import "sync"

// recent remembers the last ids that were added. The zero value is empty.
type recent struct {
	mu   sync.Mutex
	ids  map[string]bool
	ring [4096]string
	next int
}

// add reports whether id is new.
func (r *recent) add(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids[id] {
		return false
	}
	if r.ids == nil {
		r.ids = map[string]bool{}
	}
	delete(r.ids, r.ring[r.next])
	r.ids[id], r.ring[r.next] = true, id
	r.next = (r.next + 1) % len(r.ring)
	return true
}

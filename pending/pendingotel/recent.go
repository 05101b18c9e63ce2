package pendingotel

import (
	"sync"

	"github.com/pendingq/pendingq/backends"
)

// recent remembers the last requests that were added. The zero value is empty.
type recent struct {
	mu       sync.Mutex
	requests map[request]bool
	ring     [4096]request
	next     int
}

// request is one request. Requests with the same idempotency key have the same id.
type request struct {
	id      string
	created int64 // in microseconds since 1970
}

// add reports whether a request is new.
func (r *recent) add(rec *backends.Record) bool {
	added := request{rec.ID, rec.CreatedAt.UnixMicro()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.requests[added] {
		return false
	}
	if r.requests == nil {
		r.requests = map[request]bool{}
	}
	delete(r.requests, r.ring[r.next])
	r.requests[added], r.ring[r.next] = true, added
	r.next = (r.next + 1) % len(r.ring)
	return true
}

// Package quota limits what the calls of a server hold at a time.
package quota

import (
	"context"
	"sync"
)

// Quota limits how many places to wait, or how many bytes, the calls hold at a time. It has shares,
// so that one caller cannot use up the whole quota. The zero value is ready.
type Quota struct {
	mu    sync.Mutex
	held  map[string]int64 // by the key of a share
	freed chan struct{}    // closed at the next Leave
}

// Share is the part of a quota that all calls with one key share. A call that needs more than the
// whole share may hold it alone.
type Share struct {
	key string
	max int64
}

// Of returns the share with a key, of at most that many.
func Of(key string, max int64) Share { return Share{key, max} }

// Try takes n from each share, or nothing. If it takes nothing, freed is closed at the next Leave,
// when another Try may succeed.
func (q *Quota) Try(n int64, shares []Share) (ok bool, freed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held == nil {
		q.held, q.freed = map[string]int64{}, make(chan struct{})
	}
	for _, s := range shares {
		if held := q.held[s.key]; held > 0 && held+n > s.max {
			return false, q.freed
		}
	}
	for _, s := range shares {
		q.held[s.key] += n
	}
	return true, nil
}

// Enter takes n from each share. It waits until ctx ends, and then returns false. Waiting calls
// have no order: small calls may pass a large one again and again.
func (q *Quota) Enter(ctx context.Context, n int64, shares []Share) bool {
	for {
		ok, freed := q.Try(n, shares)
		if ok {
			return true
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

// Leave gives n back to each share.
func (q *Quota) Leave(n int64, shares []Share) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range shares {
		if q.held[s.key] -= n; q.held[s.key] == 0 {
			delete(q.held, s.key)
		}
	}
	close(q.freed)
	q.freed = make(chan struct{})
}

// Held returns how much the calls with a key hold.
func (q *Quota) Held(key string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[key]
}

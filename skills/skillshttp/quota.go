package skillshttp

import (
	"context"
	"sync"
)

// quota limits how many places to wait, or how many bytes, the calls hold at a time. It has shares,
// so that one caller cannot use up the whole quota.
type quota struct {
	mu    sync.Mutex
	held  map[string]int64 // by the key of a share
	freed chan struct{}    // closed at the next leave
}

// share is the part of a quota that all calls with one key share. A call that needs more than the
// whole share may hold it alone.
type share struct {
	key string
	max int64
}

// try takes n from each share, or nothing. If it takes nothing, freed is closed at the next leave,
// when another try may succeed.
func (q *quota) try(n int64, shares []share) (ok bool, freed <-chan struct{}) {
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

// enter takes n from each share. It waits until ctx ends, and then returns false.
func (q *quota) enter(ctx context.Context, n int64, shares []share) bool {
	for {
		ok, freed := q.try(n, shares)
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

// leave gives n back to each share.
func (q *quota) leave(n int64, shares []share) {
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

// holds returns how much the calls with a key hold.
func (q *quota) holds(key string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[key]
}

// The keys of shares. The share of the whole node has the key "".
func ofRuntime(id string) string         { return "runtime " + id }
func ofRequest(id string) string         { return "request " + id }
func ofCaller(user string) string        { return "caller " + user }
func ofBoth(runtime, user string) string { return "both " + runtime + "\x00" + user }

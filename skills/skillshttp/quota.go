package skillshttp

import (
	"context"
	"sync"
)

// quota limits what calls hold at a time: places to wait in, or bytes. One that a caller has used
// up leaves room for the others.
type quota struct {
	mu    sync.Mutex
	held  map[string]int64 // by the key of a share
	freed chan struct{}    // closed when something is given back
}

// share is a part of a quota that calls with one key have together. Something that is larger than
// the whole share may be held alone.
type share struct {
	key string
	max int64
}

// try takes n from each share, or nothing. If it takes nothing, freed is closed when it may be
// worth another try.
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

// enter takes n from each share. It waits for it until ctx ends, and then reports false.
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

// holds returns what is held of a share.
func (q *quota) holds(key string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[key]
}

// The keys of shares. One of a node has the key "".
func ofRuntime(id string) string         { return "runtime " + id }
func ofRequest(id string) string         { return "request " + id }
func ofCaller(user string) string        { return "caller " + user }
func ofBoth(runtime, user string) string { return "both " + runtime + "\x00" + user }

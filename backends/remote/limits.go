package remote

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// side is who a request serves. Each side has limits of its own.
type side int

const (
	front  side = iota // who creates and reads requests
	worker             // who claims and ends them
	sides
)

// budget bounds the bytes of bodies and answers in flight. A caller can hold a share of them.
type budget struct {
	size int64

	mu      sync.Mutex
	held    int64
	callers map[string]int64 // bytes that each holds
	waiting list.List        // of *grant, the longest waiting first
}

// grant is a call that waits for bytes.
type grant struct {
	caller string
	bytes  int64
	given  chan struct{}
}

const (
	callerShares = 4               // the bytes have this many shares; a caller can hold one
	maxWaiting   = 1000            // calls that wait for bytes
	patience     = 5 * time.Second // how long a call waits for bytes
)

// share returns how many bytes a caller can hold.
func (b *budget) share() int64 { return max(1, b.size/callerShares) }

// take waits until a caller may hold these bytes, but at most a share. It returns the number of
// bytes that the caller now holds. It returns [ErrTooMany] if that takes too long.
func (b *budget) take(ctx context.Context, caller string, bytes int64) (int64, error) {
	g := &grant{caller, min(bytes, b.share()), make(chan struct{})}
	b.mu.Lock()
	if b.fits(g) {
		b.hold(g)
		b.mu.Unlock()
		return g.bytes, nil
	}
	if b.waiting.Len() >= maxWaiting {
		b.mu.Unlock()
		return 0, ErrTooMany
	}
	place := b.waiting.PushBack(g)
	b.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-g.given:
		return g.bytes, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-g.given: // at the last moment
		return g.bytes, nil
	default:
		b.waiting.Remove(place)
		return 0, ErrTooMany
	}
}

func (b *budget) fits(g *grant) bool {
	return b.held+g.bytes <= b.size && b.callers[g.caller]+g.bytes <= b.share()
}

func (b *budget) hold(g *grant) {
	if b.callers == nil {
		b.callers = map[string]int64{}
	}
	b.held += g.bytes
	b.callers[g.caller] += g.bytes
}

// giveBack frees bytes of a caller, and grants them to calls that wait.
func (b *budget) giveBack(caller string, bytes int64) {
	if bytes == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= bytes
	b.callers[caller] -= bytes
	if b.callers[caller] == 0 {
		delete(b.callers, caller)
	}
	for place := b.waiting.Front(); place != nil; {
		g, next := place.Value.(*grant), place.Next()
		if b.fits(g) {
			b.hold(g)
			b.waiting.Remove(place)
			close(g.given)
		}
		place = next
	}
}

// parking counts the requests that wait for something to happen.
type parking struct {
	max, maxOfMailbox, maxOfCaller int

	mu  sync.Mutex
	all int
	by  map[string]int // by caller and by mailbox
}

// enter takes a place. It returns false if there is none.
func (p *parking) enter(caller string, mailboxes []string) (leave func(), entered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := []string{"c" + caller}
	full := p.all >= p.max || p.by[keys[0]] >= p.maxOfCaller
	for _, mailbox := range mailboxes {
		full = full || p.by["m"+mailbox] >= p.maxOfMailbox
		keys = append(keys, "m"+mailbox)
	}
	if full {
		return nil, false
	}
	p.count(keys, 1)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.count(keys, -1)
	}, true
}

func (p *parking) count(keys []string, by int) {
	if p.by == nil {
		p.by = map[string]int{}
	}
	p.all += by
	for _, key := range keys {
		p.by[key] += by
		if p.by[key] == 0 {
			delete(p.by, key)
		}
	}
}

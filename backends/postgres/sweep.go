package postgres

import (
	"context"
	"sync"
	"time"
)

// How expired records are freed: bites of at most sweepBite rows, one after the other while there
// are some, and otherwise when the next is due, but not more often than every sweepPause.
const (
	sweepBite    = 500
	sweepPause   = time.Second
	sweepLongest = time.Minute
	sweepTimeout = 30 * time.Second
)

// sweeper frees expired records. Its goroutine begins with the first Create of a process, and ends
// when no records are left, or with the Backend.
type sweeper struct {
	b     *Backend
	ctx   context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex
	running bool
	created bool // since the last bite
}

func newSweeper(b *Backend) *sweeper {
	s := &sweeper{b: b}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

func (s *sweeper) close() {
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.tasks.Wait()
}

// start sees to it that a record which was created now will be freed.
func (s *sweeper) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created = true
	if !s.running && s.ctx.Err() == nil {
		s.running = true
		s.tasks.Go(s.run)
	}
}

func (s *sweeper) run() {
	for pause := sweepPause; s.pause(pause); {
		s.mu.Lock()
		s.created = false
		s.mu.Unlock()
		done, next, err := s.sweep()
		switch {
		case err != nil:
			pause = sweepLongest / 4
		case done >= sweepBite:
			pause = time.Millisecond
		case next == nil:
			if s.stop() {
				return
			}
			pause = sweepPause
		default:
			pause = min(max(*next, sweepPause), sweepLongest)
		}
	}
}

// stop ends the goroutine unless something was created since it looked.
func (s *sweeper) stop() (stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = s.created
	return !s.running
}

// pause reports false if the Backend was closed.
func (s *sweeper) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// sweep takes a bite. It returns how many rows it was, and how long until the next row is due, nil
// if there is none.
func (s *sweeper) sweep() (done int, next *time.Duration, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, sweepTimeout)
	defer cancel()
	var due *time.Time
	var now time.Time
	args := s.b.args([]any{sweepBite})
	err = s.b.pool.QueryRow(ctx, s.b.call.sweep, args...).Scan(&done, &due, &now)
	if err == nil && due != nil {
		left := due.Sub(now)
		next = &left
	}
	return done, next, err
}

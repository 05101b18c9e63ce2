package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/pendingq/pendingq/internal/poll"
)

// Expired records are freed in batches. After a full batch the next one follows at once. Otherwise
// it follows when the next row is due.
const (
	sweepBatch   = 500              // records in a batch, and as many memos
	sweepPause   = time.Second      // the shortest pause after a batch that was not full
	sweepLongest = time.Minute      // the longest pause
	sweepTimeout = 30 * time.Second // of one batch
)

// sweeper frees expired records. Its goroutine starts with a Create, an End or a Cancel. It ends
// when no records are left, or with the Backend.
type sweeper struct {
	b     *Backend
	ctx   context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex
	running bool
	started bool // start was called since the last batch
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

// start makes sure that the sweep runs. It is called when a record may have been created or ended.
func (s *sweeper) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	if !s.running && s.ctx.Err() == nil {
		s.running = true
		s.tasks.Go(s.run)
	}
}

func (s *sweeper) run() {
	for pause := sweepPause; poll.Sleep(s.ctx, pause) == nil; {
		s.mu.Lock()
		s.started = false
		s.mu.Unlock()
		done, next, err := s.sweep()
		switch {
		case err != nil:
			pause = sweepLongest / 4
		case done >= sweepBatch:
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

// stop ends the goroutine, unless start was called since the last batch.
func (s *sweeper) stop() (stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = s.started
	return !s.running
}

// sweep frees a batch. It returns the number of rows, and the time until the next row is due, or
// nil if there is no row.
func (s *sweeper) sweep() (done int, next *time.Duration, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, sweepTimeout)
	defer cancel()
	var due *time.Time
	var now time.Time
	err = s.b.pool.QueryRow(ctx, s.b.call.sweep, s.b.args(sweepBatch)...).Scan(&done, &due, &now)
	if err == nil && due != nil {
		left := due.Sub(now)
		next = &left
	}
	return done, next, err
}

// Package poll helps clients that poll a server.
package poll

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pause returns the pause after a number of failures: first, doubled after each further failure, at
// most longest.
func Pause(failures int, first, longest time.Duration) time.Duration {
	return min(longest, first<<min(failures, 16))
}

// Jitter makes half of a pause random, so that clients which fail together do not return together.
func Jitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// Sleep waits, unless ctx ends first. It returns what [Ended] returns then.
func Sleep(ctx context.Context, pause time.Duration) error {
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return Ended(ctx)
}

// Ended returns ctx's error. A network client also keeps ctx's deadline, and may do so a moment
// before ctx's own timer fires.
func Ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// Outliving returns a context that ends grace later than ctx. It has a deadline if ctx has one,
// because a network client may observe only deadlines while it waits for a reply.
func Outliving(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if deadline, ok := ctx.Deadline(); ok {
		longer, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(grace))
	}
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}

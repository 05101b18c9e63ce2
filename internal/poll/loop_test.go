package poll_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errStopped = errors.New("stopped")

func TestJobsWithoutASlotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		job := func(context.Context) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			calls.Pass(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
		}
		var free []int
		err := poll.Loop{Concurrency: 3, Grace: time.Minute}.Run(t.Context(),
			func(_ context.Context, n int) ([]func(context.Context), error) {
				if free = append(free, n); len(free) == 3 {
					return nil, errStopped
				}
				return slices.Repeat([]func(context.Context){job}, 2*len(free)), nil
			})
		// The first claim takes two of three slots. The second one brings four jobs.
		if !errors.Is(err, errStopped) || most != 3 ||
			!slices.Equal(free[:2], []int{3, 1}) || free[2] < 1 {
			t.Errorf("got %v; %d jobs ran at a time; free slots %v", err, most, free)
		}
	})
}

func TestJobsHaveTheGraceAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		start := time.Now()
		loop := poll.Loop{Concurrency: 1, Grace: time.Minute, Cause: errStopped}
		err := loop.Run(ctx, func(context.Context, int) ([]func(context.Context), error) {
			return []func(context.Context){func(ctx context.Context) {
				end()
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), errStopped) {
					t.Errorf("got the cause %v", context.Cause(ctx))
				}
			}}, nil
		})
		if took := time.Since(start); err != nil || took != time.Minute {
			t.Errorf("got %v after %v, want the grace of a minute", err, took)
		}
	})
}

func TestAClaimInFlightDoesNotLengthenTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		start := time.Now()
		claims := 0
		loop := poll.Loop{Concurrency: 2, Grace: time.Minute, Cause: errStopped}
		err := loop.Run(ctx, func(ctx context.Context, _ int) ([]func(context.Context), error) {
			if claims++; claims == 1 {
				return []func(context.Context){func(ctx context.Context) { <-ctx.Done() }}, nil
			}
			end()
			calls.Pass(30 * time.Second)
			return nil, nil
		})
		if took := time.Since(start); err != nil || took != time.Minute {
			t.Errorf("got %v after %v, want the grace of a minute", err, took)
		}
	})
}

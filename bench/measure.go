package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Result is what a run of one operation measured.
type Result struct {
	N         int // how often it ran
	Elapsed   time.Duration
	P50, P99  time.Duration // of one operation
	ServerCPU time.Duration // of one operation; 0 where there is no server
}

// PerSecond returns how many operations were done a second.
func (r Result) PerSecond() float64 { return float64(r.N) / r.Elapsed.Seconds() }

// Figures of a Result.
var (
	PerSecond = Result.PerSecond
	P50       = func(r Result) float64 { return micros(r.P50) }
	P99       = func(r Result) float64 { return micros(r.P99) }
	ServerCPU = func(r Result) float64 { return micros(r.ServerCPU) }
)

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// Run does something n times, with so many callers at a time, each in a mailbox of its own. Server
// is asked for its CPU time; nil where there is none.
func Run(ctx context.Context, do Do, callers, n int, server redis.UniversalClient) (Result, error) {
	before, err := cpu(ctx, server)
	if err != nil {
		return Result{}, err
	}
	latencies := make([]time.Duration, n)
	errs := make([]error, callers)
	var next atomic.Int64
	var work sync.WaitGroup
	start := time.Now()
	for caller := range callers {
		mailbox := fmt.Sprint("runtime-", caller)
		work.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[caller] == nil; i = next.Add(1) - 1 {
				began := time.Now()
				errs[caller] = do(ctx, mailbox)
				latencies[i] = time.Since(began)
			}
		})
	}
	work.Wait()
	elapsed := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return Result{}, err
	}
	after, err := cpu(ctx, server)
	if err != nil {
		return Result{}, err
	}
	slices.Sort(latencies)
	return Result{N: n, Elapsed: elapsed, P50: latencies[n/2], P99: latencies[n*99/100],
		ServerCPU: (after - before) / time.Duration(n)}, nil
}

// cpu returns the CPU time that a server has used.
func cpu(ctx context.Context, server redis.UniversalClient) (time.Duration, error) {
	if server == nil {
		return 0, nil
	}
	info, err := server.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	seconds := field(info, "used_cpu_user") + field(info, "used_cpu_sys")
	return time.Duration(seconds * float64(time.Second)), nil
}

// field reads a number of an INFO text. It is 0 if the text lacks it.
func field(info, name string) float64 {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			number, _ := strconv.ParseFloat(value, 64)
			return number
		}
	}
	return 0
}

// among makes each call for the next of so many mailboxes.
func among(prefix string, mailboxes int, do Do) Do {
	var next atomic.Int64
	return func(ctx context.Context, _ string) error {
		return do(ctx, fmt.Sprint(prefix, next.Add(1)%int64(mailboxes)))
	}
}

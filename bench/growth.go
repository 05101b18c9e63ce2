package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/pending"
)

// Pipelines are the ways that commands may be gathered.
var Pipelines = map[string]goredis.AutoPipeline{
	"never": goredis.AutoPipelineNever, "load": goredis.AutoPipelineByLoad, "always": goredis.AutoPipelineAlways,
}

// PipelineModes are their names, from the plainest on.
var PipelineModes = []string{"off", "half", "full"}

// Fill leaves so many requests pending in so many mailboxes.
func Fill(ctx context.Context, s Stack, live, mailboxes int) error {
	const fillers = 64
	errs := make([]error, fillers)
	var work sync.WaitGroup
	for filler := range fillers {
		work.Go(func() {
			for i := filler; i < live && errs[filler] == nil; i += fillers {
				errs[filler] = s.Create(ctx, fmt.Sprint("filled-", i%max(mailboxes, 1)))
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// HeapPerPending is how many bytes of heap one pending request costs in a stack in memory.
func HeapPerPending(ctx context.Context, s Stack, live int) (float64, error) {
	before := heap()
	if err := Fill(ctx, s, live, live/10); err != nil {
		return 0, err
	}
	used := heap() - before
	runtime.KeepAlive(s)
	return used / float64(live), nil
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // what the first one's finalisers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// Latencies are how long a waiting worker and a waiting front end took to notice.
type Latencies struct{ PickupP50, PickupP99, AnswerP50, AnswerP99 time.Duration }

// Pickup measures n requests one after the other in an idle system: from their creation to the claim by one who waits,
// and from the report to the answer of one who waits. A poll could not help: its interval is an hour.
func Pickup(ctx context.Context, client redis.UniversalClient, n int) (l Latencies, err error) {
	b, err := goredis.New(client, &goredis.Options{Prefix: "bench:", PollInterval: time.Hour})
	if err != nil {
		return l, err
	}
	defer b.Close()
	store, err := pending.New(b, codecOf[Job]("msgpack"), Policy())
	if err != nil {
		return l, err
	}
	pickups, answers := make([]time.Duration, n), make([]time.Duration, n)
	for i := range n {
		if pickups[i], answers[i], err = pickupOnce(ctx, store, fmt.Sprint("idle-", i%8)); err != nil {
			return l, err
		}
	}
	slices.Sort(pickups)
	slices.Sort(answers)
	return Latencies{pickups[n/2], pickups[n*99/100], answers[n/2], answers[n*99/100]}, nil
}

func pickupOnce(ctx context.Context, store *pending.PendingStore[Job], mailbox string) (pickup, answered time.Duration, err error) {
	type event struct {
		r   *pending.Request[Job]
		at  time.Time
		err error
	}
	claimed, read := make(chan event, 1), make(chan event, 1)
	go func() {
		r, err := store.AwaitPending(ctx, mailbox)
		claimed <- event{r, time.Now(), err}
	}()
	if err := settle(ctx); err != nil {
		return 0, 0, err
	}
	created := time.Now()
	asked, err := store.Create(ctx, mailbox, question)
	if err != nil {
		return 0, 0, err
	}
	go func() {
		r, err := store.Await(ctx, asked.ID)
		read <- event{r, time.Now(), err}
	}()
	work := <-claimed
	if work.err != nil {
		return 0, 0, work.err
	}
	if err := settle(ctx); err != nil {
		return 0, 0, err
	}
	reported := time.Now()
	work.r.Payload.Output = answer
	if err := store.Complete(ctx, work.r); err != nil {
		return 0, 0, err
	}
	end := <-read
	return work.at.Sub(created), end.at.Sub(reported), end.err
}

// settle lets a waiter come to rest: what is measured is how long it takes to wake.
func settle(ctx context.Context) error {
	select {
	case <-time.After(5 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ParkedMemory is how many bytes of memory one who waits costs, with so many of them, each on a mailbox of its own.
func ParkedMemory(ctx context.Context, client redis.UniversalClient, waiters int) (float64, error) {
	b, err := goredis.New(client, &goredis.Options{Prefix: "bench:", PollInterval: time.Hour})
	if err != nil {
		return 0, err
	}
	defer b.Close()
	store, err := pending.New(b, codecOf[Job]("msgpack"), Policy())
	if err != nil {
		return 0, err
	}
	before := heap()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parked sync.WaitGroup
	for i := range waiters {
		parked.Go(func() { _, _ = store.AwaitPending(ctx, fmt.Sprint("parked-", i)) }) // ends with ctx
	}
	for { // until all are subscribed: the partitions of their mailboxes have channels
		channels, err := client.PubSubChannels(ctx, "bench:*").Result()
		if err != nil {
			return 0, err
		}
		if len(channels) >= waiters*9/10 {
			break
		}
		if err := settle(ctx); err != nil {
			return 0, err
		}
	}
	used := heap() - before
	cancel()
	parked.Wait()
	return used / float64(waiters), nil
}

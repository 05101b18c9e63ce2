package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/pending"
)

// fillers call at a time in Fill.
const fillers = 64

// Fill creates so many requests in so many mailboxes.
func Fill(ctx context.Context, s Stack, live, mailboxes int) error {
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

// FillMemory fills a stack in this process as Fill does, and returns how many bytes of memory a
// request takes.
func FillMemory(ctx context.Context, s Stack, live, mailboxes int) (float64, error) {
	before := heap()
	err := Fill(ctx, s, live, mailboxes)
	used := heap() - before
	runtime.KeepAlive(s)
	return used / float64(live), err
}

// FillRedis empties the server, fills one of LifecycleSides as Fill does, and returns how many
// bytes of the server's memory a request takes. Connections to the server are no part of it.
func (s *Suite) FillRedis(ctx context.Context, side string, live, mailboxes int) (float64, error) {
	admin, err := s.empty(ctx, 1)
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	before, err := memoryAlone(ctx, admin)
	if err != nil {
		return 0, err
	}
	if err := s.fill(ctx, side, live, mailboxes); err != nil {
		return 0, err
	}
	after, err := memoryAlone(ctx, admin)
	return (after - before) / float64(live), err
}

// fill fills a side through a client of its own.
func (s *Suite) fill(ctx context.Context, side string, live, mailboxes int) error {
	client := NewClient(s.Addr, fillers)
	defer client.Close()
	stack, err := NewSide(client, side)
	if err != nil {
		return err
	}
	return Fill(ctx, stack, live, mailboxes)
}

// memoryAlone returns how many bytes of memory a server uses, once it has dropped the connections
// of all other clients that NewClient made.
func memoryAlone(ctx context.Context, admin *redis.Client) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		clients, err := admin.ClientList(ctx).Result()
		if err != nil {
			return 0, err
		}
		if strings.Count(clients, " name="+clientName+" ") == 1 { // the admin
			break
		}
		if err := settle(ctx); err != nil {
			return 0, fmt.Errorf("clients of an earlier measurement stay connected: %w", err)
		}
	}
	info, err := admin.Info(ctx, "memory").Result()
	return field(info, "used_memory"), err
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // frees what finalisers of the first one let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// Latencies are how long a waiting worker and a waiting requester took to notice.
type Latencies struct{ PickupP50, PickupP99, AnswerP50, AnswerP99 time.Duration }

// Pickup measures n requests one after the other in an idle system. A pick-up lasts from the
// creation to the claim of a waiting worker. An answer lasts from the report until a waiting
// requester has it. Polls help only if the backend's interval is short.
func Pickup(ctx context.Context, b backends.Backend, n int) (l Latencies, err error) {
	store, err := pending.New(b, codecOf[Job]("msgpack"), Policy())
	if err != nil {
		return l, err
	}
	pickups, answers := make([]time.Duration, n), make([]time.Duration, n)
	for i := range n {
		pickups[i], answers[i], err = pickupOnce(ctx, store, fmt.Sprint("idle-", i%8))
		if err != nil {
			return l, err
		}
	}
	slices.Sort(pickups)
	slices.Sort(answers)
	return Latencies{pickups[n/2], pickups[n*99/100], answers[n/2], answers[n*99/100]}, nil
}

func pickupOnce(ctx context.Context, store *pending.PendingStore[Job], mailbox string) (
	pickup, answered time.Duration, err error) {
	type event struct {
		claim *pending.Claim[Job] // nil for an answer
		at    time.Time
		err   error
	}
	claimed, read := make(chan event, 1), make(chan event, 1)
	go func() {
		c, err := store.AwaitPending(ctx, mailbox)
		claimed <- event{c, time.Now(), err}
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
		_, err := store.Await(ctx, asked.ID)
		read <- event{nil, time.Now(), err}
	}()
	work := <-claimed
	if work.err != nil {
		return 0, 0, work.err
	}
	if err := settle(ctx); err != nil {
		return 0, 0, err
	}
	reported := time.Now()
	work.claim.Payload.Output = answer
	if err := store.Complete(ctx, work.claim); err != nil {
		return 0, 0, err
	}
	end := <-read
	return work.at.Sub(created), end.at.Sub(reported), end.err
}

// Cancels measures n cancels one after the other in an idle system. It returns the 99th percentile
// of the time from the cancel of a running request until the context of its handler ends.
func Cancels(ctx context.Context, b backends.Backend, n int) (time.Duration, error) {
	policy := Policy()
	policy.CancelGrace = time.Minute
	store, err := pending.New(b, codecOf[Job]("msgpack"), policy)
	if err != nil {
		return 0, err
	}
	handling, told := make(chan struct{}), make(chan time.Time, 1)
	worker, err := pending.NewWorker("cancels", nil, pending.Handle(store,
		func(ctx context.Context, _ *pending.Claim[Job]) error {
			handling <- struct{}{}
			<-ctx.Done()
			told <- time.Now()
			return context.Cause(ctx)
		}))
	if err != nil {
		return 0, err
	}
	working, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- worker.Run(working) }()
	took := make([]time.Duration, n)
	for i := range took {
		if took[i], err = cancelOnce(ctx, store, handling, told); err != nil {
			break
		}
	}
	stop()
	slices.Sort(took)
	return took[n*99/100], errors.Join(err, <-stopped)
}

func cancelOnce(ctx context.Context, store *pending.PendingStore[Job], handling <-chan struct{},
	told <-chan time.Time) (time.Duration, error) {
	asked, err := store.Create(ctx, "cancels", question)
	if err != nil {
		return 0, err
	}
	<-handling
	if err := settle(ctx); err != nil {
		return 0, err
	}
	cancelled := time.Now()
	if err := store.Cancel(ctx, asked, ""); err != nil {
		return 0, err
	}
	took := (<-told).Sub(cancelled)
	_, err = store.Await(ctx, asked.ID)
	return took, err
}

// settle lets a waiter come to rest before it is woken.
func settle(ctx context.Context) error {
	select {
	case <-time.After(5 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ParkedMemory returns how many bytes a waiter takes, with so many of them, each on a mailbox of
// its own.
func ParkedMemory(ctx context.Context, client redis.UniversalClient, waiters int) (float64, error) {
	b, err := goredis.New(client, &goredis.Options{PollInterval: time.Hour})
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
		parked.Go(func() {
			_, _ = store.AwaitPending(ctx, fmt.Sprint("parked-", i)) // ends with ctx
		})
	}
	for { // until all are subscribed
		channels, err := client.PubSubChannels(ctx, "pendingq:*").Result()
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

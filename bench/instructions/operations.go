package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/bench"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// operation is a line of the table.
type operation struct {
	name    string
	prepare func(ctx context.Context) error // may be nil
	do      func(ctx context.Context, i int) error
}

type store = pending.PendingStore[bench.Job]

// newStore makes a store with long timeouts: callgrind slows the server down.
func newStore(b backends.Backend, name string, attempts int) (*store, error) {
	policy := bench.Policy()
	policy.Name, policy.MaxAttempts = name, attempts
	policy.PendingTimeout, policy.RunningTimeout = time.Hour, time.Hour
	return pending.New(b, codec.Msgpack[bench.Job](), policy)
}

func allOperations(client *redis.Client, running int) ([]operation, error) {
	b, err := goredis.New(client, &goredis.Options{AutoPipeline: goredis.AutoPipelineNever})
	if err != nil {
		return nil, err
	}
	beats, err := bench.LibraryBeats(b)
	if err != nil {
		return nil, err
	}
	oldBeats := bench.OriginalBeats(client)
	operations := []operation{
		{"lifecycle, floor", nil, numbered(bench.NewFloor(client).Lifecycle)},
		{"lifecycle, original", nil, numbered(bench.NewOriginal(client).Lifecycle)},
		{"idle heartbeat over five stores, original", nil, numbered(oldBeats.Idle)},
		{"idle heartbeat over five stores", nil, numbered(beats.Idle)},
	}
	for _, kind := range []struct {
		name     string
		attempts int
	}{{"plain store", 1}, {"retry store", 3}} {
		own, err := operationsOf(b, kind.name, kind.attempts, running)
		if err != nil {
			return nil, err
		}
		operations = append(operations, own...)
	}
	return operations, nil
}

// numbered runs an operation in a mailbox for each number.
func numbered(do bench.Do) func(context.Context, int) error {
	return func(ctx context.Context, i int) error { return do(ctx, fmt.Sprint("runtime-", i)) }
}

// operationsOf returns the operations of a store that allows so many attempts.
func operationsOf(b backends.Backend, kind string, attempts, running int) ([]operation, error) {
	names := []string{"one", "two", "three", "four", "five"}
	var stores []*store
	var sources []pending.Source
	for _, name := range names {
		s, err := newStore(b, fmt.Sprint(name, attempts), attempts)
		if err != nil {
			return nil, err
		}
		stores, sources = append(stores, s), append(sources, s)
	}
	inbox, err := pending.NewInbox(sources...)
	if err != nil {
		return nil, err
	}
	first := stores[0]
	whole := &requests{store: first}
	parts := &requests{store: first}
	empty := &requests{store: first, mailbox: "empty"}
	crowded := &requests{store: first, mailbox: "crowded"}
	operations := []operation{
		{"lifecycle", nil, inTurn(whole.create, whole.claim, whole.complete, whole.get)},
		{"create", nil, parts.create},
		{"claim", nil, parts.claim},
		{"extend", nil, parts.extend},
		{"complete", nil, parts.complete},
		{"get", nil, parts.get},
		idlePoll("first", first, inbox),
		idlePoll("fourth", stores[3], inbox), // the costliest of the five
		idlePoll("last", stores[4], inbox),
		{"create, claim, complete, none running", nil,
			inTurn(empty.create, empty.claim, empty.complete)},
		{fmt.Sprintf("create, claim, complete, %d running", running),
			func(ctx context.Context) error { return crowded.run(ctx, running) },
			inTurn(crowded.create, crowded.claim, crowded.complete)},
	}
	for i, o := range operations {
		operations[i].name = o.name + ", " + kind
	}
	return operations, nil
}

// idlePoll polls five stores of a mailbox. A request runs in one of them.
func idlePoll(which string, one *store, inbox *pending.Inbox) operation {
	running := &requests{store: one, mailbox: "running in the " + which}
	return operation{
		name:    "idle poll of five stores, one request runs in the " + which,
		prepare: func(ctx context.Context) error { return running.run(ctx, 1) },
		do: func(ctx context.Context, _ int) error {
			_, err := inbox.Pop(ctx, running.mailbox)
			switch {
			case err == nil:
				return errors.New("an idle poll found a request")
			case errors.Is(err, pending.ErrNoPending):
				return nil
			}
			return err
		},
	}
}

// inTurn runs steps one after the other.
func inTurn(steps ...func(context.Context, int) error) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		for _, step := range steps {
			if err := step(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
}

// requests are requests of a store, by number.
type requests struct {
	store   *store
	mailbox string // "": one for each request
	created []*pending.Request[bench.Job]
	claimed []*pending.Claim[bench.Job]
}

func (r *requests) mailboxOf(i int) string {
	if r.mailbox != "" {
		return r.mailbox
	}
	return fmt.Sprint("runtime-", i)
}

func (r *requests) create(ctx context.Context, i int) error {
	q, err := r.store.Create(ctx, r.mailboxOf(i), bench.Job{Command: "refresh the local index"})
	r.created = append(r.created, q)
	return err
}

func (r *requests) claim(ctx context.Context, i int) error {
	c, err := r.store.PopPending(ctx, r.mailboxOf(i))
	r.claimed = append(r.claimed, c)
	return err
}

func (r *requests) extend(ctx context.Context, i int) error {
	return r.store.Extend(ctx, r.claimed[i])
}

func (r *requests) complete(ctx context.Context, i int) error {
	r.claimed[i].Payload.Output = strings.Repeat("indexed ok. ", 16)
	return r.store.Complete(ctx, r.claimed[i])
}

func (r *requests) get(ctx context.Context, i int) error {
	_, err := r.store.Get(ctx, r.created[i].ID)
	return err
}

// run fills the mailbox with n running requests.
func (r *requests) run(ctx context.Context, n int) error {
	for range n {
		if _, err := r.store.Create(ctx, r.mailbox, bench.Job{}); err != nil {
			return err
		}
		if _, err := r.store.PopPending(ctx, r.mailbox); err != nil {
			return err
		}
	}
	return nil
}

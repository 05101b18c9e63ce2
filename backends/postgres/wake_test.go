package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/internal/calls"
)

// twoNodes are two backends in one schema, as in two processes.
func twoNodes(t *testing.T) (one, two *postgres.Backend, pool *pgxpool.Pool) {
	t.Helper()
	pool = commonPool(t)
	opts := postgres.Options{Schema: newSchema(t, pool)}
	return open(t, pool, opts), open(t, pool, opts), pool
}

func TestAnotherProcessIsWoken(t *testing.T) {
	one, two, _ := twoNodes(t)
	terms := lasting("s")
	warmUp(t, two)
	arrived, stop := two.WatchMailbox(t.Context(), box)
	defer stop()
	c := question(terms, box)
	if _, err := one.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	awaitSignal(t, arrived)
	ended, stop := two.WatchRequest(t.Context(), c.ID)
	defer stop()
	if _, err := one.End(t.Context(), report(terms, c.ID, 0)); err != nil {
		t.Fatal(err)
	}
	awaitSignal(t, ended)
}

func TestManyChangesAtOnceWakeEveryWaiterOfAnotherProcess(t *testing.T) {
	one, two, _ := twoNodes(t)
	warmUp(t, two)
	const n = 1500 // more than one notification holds
	signals := make([]<-chan struct{}, n)
	for i := range n {
		signal, stop := two.WatchMailbox(t.Context(), fmt.Sprint("runtime-", i))
		defer stop()
		signals[i] = signal
	}
	var callers sync.WaitGroup
	for caller := range 16 {
		callers.Go(func() {
			for i := caller; i < n; i += 16 {
				c := question(lasting("s"), fmt.Sprint("runtime-", i))
				if _, err := one.Create(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	for _, signal := range signals {
		awaitSignal(t, signal)
	}
}

func TestListeningSurvivesTheLossOfItsConnection(t *testing.T) {
	one, two, pool := twoNodes(t)
	warmUp(t, two)
	woken, stop := two.WatchMailbox(t.Context(), box)
	defer stop()
	for range 3 {
		terminate(t, pool)
		awaitSignal(t, woken) // it listens again: waiters look, since a change may have been missed
		c := question(lasting("s"), box)
		if _, err := create(t, one, c); err != nil {
			t.Fatal(err)
		}
		awaitSignal(t, woken)
	}
}

// terminate ends all connections of the server but one. It tries again while it has none itself.
func terminate(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	var err error
	if !calls.Await(time.Minute, 10*time.Millisecond, func() bool {
		_, err = pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
		return err == nil
	}) {
		t.Errorf("terminate: %v", err)
	}
}

// create creates a request. It tries again while connections are cut.
func create(t *testing.T, b *postgres.Backend, c backends.Create) (rec backends.Record, err error) {
	t.Helper()
	for range 100 {
		if rec, err = b.Create(t.Context(), c); err == nil {
			break
		}
	}
	return rec, err
}

func TestAClosedPoolIsNoticedAtOnce(t *testing.T) {
	pool := commonServer(t).pool(t, nil)
	b := open(t, pool, postgres.Options{Schema: newSchema(t, pool), PollInterval: time.Hour})
	warmUp(t, b)
	woken, stop := b.WatchMailbox(t.Context(), box)
	defer stop()
	pool.Close()
	awaitSignal(t, woken)
	if _, err := b.Claim(t.Context(), poll(box, lasting("s"))); err == nil {
		t.Error("a claim through a closed pool succeeded")
	}
}

// A backend that does not pause opens connections one after the other. The pauses before the 6th
// are at least 25, 50, 100, 200 and 400 ms.
func TestAPoolThatKeepsNoConnectionIsWatchedWithPauses(t *testing.T) {
	released := make(chan time.Time)
	pool := commonServer(t).pool(t, func(c *pgxpool.Config) {
		c.AfterRelease = func(*pgx.Conn) bool {
			select {
			case released <- time.Now():
			case <-t.Context().Done():
			}
			return false
		}
	})
	b := open(t, pool, postgres.Options{Schema: newSchema(t, commonPool(t))})
	_, stop := b.WatchMailbox(t.Context(), box)
	defer stop()
	first := <-released
	for range 4 {
		<-released
	}
	if took := (<-released).Sub(first); took < 775*time.Millisecond {
		t.Errorf("6 connections within %v", took)
	}
}

func TestACloseSendsTheLastWakeUps(t *testing.T) {
	one, two, _ := twoNodes(t)
	warmUp(t, two)
	woken, stop := two.WatchMailbox(t.Context(), box)
	defer stop()
	if _, err := one.Create(t.Context(), question(lasting("s"), box)); err != nil {
		t.Fatal(err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	awaitSignal(t, woken)
}

// Other waiters of other processes sleep on.
func TestACloseSendsOnlyWhatWasGathered(t *testing.T) {
	pool := commonPool(t)
	schema := newSchema(t, pool)
	channel := "pendingq_" + strings.ToLower(backends.Digest("channel", schema))
	listener, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Release()
	exec := func(sql string) {
		if _, err := listener.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("LISTEN " + channel)
	defer exec("UNLISTEN *")
	b := open(t, pool, postgres.Options{Schema: schema})
	if _, err := b.Create(t.Context(), question(lasting("s"), box)); err != nil {
		t.Fatal(err)
	}
	b.Close()
	exec("SELECT pg_notify('" + channel + "', 'the end')")
	for heard := 0; ; heard++ {
		n, err := listener.Conn().WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(n.Payload, "*") {
			t.Errorf("the close woke all waiters: %q", n.Payload)
		}
		if n.Payload == "the end" {
			if heard == 0 {
				t.Error("nobody heard of the request")
			}
			return
		}
	}
}

func TestAWatchOfAClosedBackendReturns(t *testing.T) {
	b := openNew(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, stop := b.WatchMailbox(t.Context(), box)
	stop()
}

func TestAnEndedContextIsItsError(t *testing.T) {
	b := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Get(ctx, "s", backends.NewID(box)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

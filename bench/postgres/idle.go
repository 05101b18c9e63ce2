package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends/postgres"
)

// Idle mailboxes that the sample is extrapolated to, and how often each is polled.
const (
	mailboxes = 100_000
	every     = 15 * time.Second
)

// idle measures heartbeats over five stores of mailboxes for which there is nothing, beside
// requests in other mailboxes.
func (l *lab) idle(ctx context.Context) error {
	pool, err := l.pool(ctx, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	b, err := openBackend(ctx, pool, "idle")
	if err != nil {
		return err
	}
	defer b.Close()
	var turn atomic.Int64
	err = together(16, l.size.live, func(string) error {
		_, err := b.Create(ctx, question(fmt.Sprint("busy-", turn.Add(1))))
		return err
	})
	if err != nil {
		return err
	}
	beat := func(string) error {
		_, err := b.Claim(ctx, poll(fmt.Sprint("idle-", turn.Add(1)), "a", "b", "c", "d", "e"))
		return err
	}
	fmt.Fprintf(l.out, "\n## Idle mailboxes\n\n"+
		"Heartbeats over five stores, beside %d live requests.\n\n"+
		"| callers | server, us each | %d mailboxes, every %v |\n|---|---|---|\n",
		l.size.live, mailboxes, every)
	for _, callers := range []int{1, 16} {
		if err := together(callers, l.size.beats/10, beat); err != nil { // warms up
			return err
		}
		var c cost
		err := l.measure(&c, func() error { return together(callers, l.size.beats, beat) })
		if err != nil {
			return err
		}
		each := c.server / time.Duration(l.size.beats)
		fmt.Fprintf(l.out, "| %d | %.0f | %.2f cores |\n", callers, each.Seconds()*1e6,
			each.Seconds()*mailboxes/every.Seconds())
	}
	return nil
}

// pickUps measures how long a waiter of another process takes to hear of a request: from the call
// of Create, or of Commit, to its signal. Nothing else happens meanwhile.
func (l *lab) pickUps(ctx context.Context) error {
	fmt.Fprint(l.out, "\n## Pick-up, idle\n\n| created | p50, ms | p99, ms |\n|---|---|---|\n")
	for _, inTx := range []bool{false, true} {
		took, err := l.pickUp(ctx, inTx)
		if err != nil {
			return err
		}
		slices.Sort(took)
		name := "by Create"
		if inTx {
			name = "by the caller's commit"
		}
		fmt.Fprintf(l.out, "| %s | %.1f | %.1f |\n", name, took[len(took)/2].Seconds()*1e3,
			took[len(took)*99/100].Seconds()*1e3)
	}
	return nil
}

func (l *lab) pickUp(ctx context.Context, inTx bool) (took []time.Duration, err error) {
	pool, err := l.pool(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	one, err := openBackend(ctx, pool, "idle")
	if err != nil {
		return nil, err
	}
	defer one.Close()
	two, err := openBackend(ctx, pool, "idle")
	if err != nil {
		return nil, err
	}
	defer two.Close()
	signal, stop := two.WatchMailbox(ctx, "picked-up")
	defer stop()
	for range l.size.pickUps {
		for drained := false; !drained; { // and what was told before is over
			select {
			case <-signal:
			case <-time.After(20 * time.Millisecond):
				drained = true
			}
		}
		start, err := create(ctx, one, pool, inTx)
		if err != nil {
			return nil, err
		}
		select {
		case <-signal:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// create creates a request. Start is when the call began whose commit makes it visible.
func create(ctx context.Context, b *postgres.Backend, pool *pgxpool.Pool, inTx bool) (
	start time.Time, err error) {
	if !inTx {
		start = time.Now()
		_, err = b.Create(ctx, question("picked-up"))
		return start, err
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		return start, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := b.Create(postgres.InTx(ctx, tx), question("picked-up")); err != nil {
		return start, err
	}
	start = time.Now()
	return start, tx.Commit(ctx)
}

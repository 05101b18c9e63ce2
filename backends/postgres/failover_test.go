package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/internal/calls"
)

// progress is the latest state of a request that a caller got in an answer.
type progress int

const (
	created progress = iota + 1
	claimed
	ended
)

// ledger notes the answers that callers got.
type ledger struct {
	mu   sync.Mutex
	seen map[string]progress
	ends int
	more chan struct{} // a request has ended
}

func (l *ledger) note(id string, p progress) {
	l.mu.Lock()
	l.seen[id] = p
	if p == ended {
		l.ends++
	}
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// await waits until a number of further requests have ended, but at most for a time.
func (l *ledger) await(ctx context.Context, more int, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	l.mu.Lock()
	enough := l.ends + more
	l.mu.Unlock()
	for {
		l.mu.Lock()
		done := l.ends >= enough
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-l.more:
		case <-ctx.Done():
			return
		}
	}
}

// work creates, claims and ends requests until a call fails.
func (l *ledger) work(ctx context.Context, b *postgres.Backend, mailbox string) {
	terms := lasting("s")
	for {
		c := question(terms, mailbox)
		if _, err := b.Create(ctx, c); err != nil {
			return
		}
		l.note(c.ID, created)
		got, err := b.Claim(ctx, poll(mailbox, terms))
		if err != nil || len(got[0].Records) != 1 {
			return
		}
		id := got[0].Records[0].ID
		l.note(id, claimed)
		if _, err := b.End(ctx, report(terms, id, 1)); err != nil {
			return
		}
		l.note(id, ended)
	}
}

// lost counts the acknowledged operations that a fail-over has lost.
type lost struct{ creates, claims, ends int }

// compare counts the operations that a new primary does not know.
func (l *ledger) compare(t *testing.T, b *postgres.Backend) (n lost) {
	for id, told := range l.seen {
		rec, err := b.Get(t.Context(), "s", id)
		switch {
		case errors.Is(err, backends.ErrNotFound):
			n.creates++
		case err != nil:
			t.Fatal(err)
		case told >= claimed && rec.Status == backends.StatusPending:
			n.claims++
		case told == ended && rec.Status == backends.StatusRunning:
			n.ends++
		}
	}
	return n
}

// pair is a primary and a standby that streams from it.
type pair struct {
	primary, standby *server
	admin            *pgxpool.Pool // of the primary
	schema           string
}

func newPair(t *testing.T) *pair {
	p := &pair{primary: startServer(t, "restart_after_crash=off")}
	p.admin = p.primary.pool(t, nil)
	p.schema = newSchema(t, p.admin)
	standby, err := p.primary.NewStandby("standby")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Remove)
	p.standby = &server{standby}
	return p
}

// wait makes commits of the primary wait for the standby.
func (p *pair) wait(t *testing.T) {
	t.Helper()
	execute(t, p.admin, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	execute(t, p.admin, "SELECT pg_reload_conf()")
}

// awaitReplay waits until the standby has what the primary has now.
func (p *pair) awaitReplay(t *testing.T) {
	t.Helper()
	var now string
	err := p.admin.QueryRow(t.Context(), "SELECT pg_current_wal_lsn()::text").Scan(&now)
	if err != nil {
		t.Fatal(err)
	}
	var has bool
	if !calls.Await(time.Minute, 5*time.Millisecond, func() bool {
		err = p.admin.QueryRow(t.Context(), `SELECT EXISTS (
			SELECT FROM pg_stat_replication WHERE replay_lsn >= $1::pg_lsn)`, now).Scan(&has)
		return err != nil || has
	}) || err != nil {
		t.Fatalf("the standby has not replayed %s: %v", now, err)
	}
}

// awaitStreaming waits until the standby streams in a state: async or sync.
func (p *pair) awaitStreaming(t *testing.T, state string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := ""; got != state; {
		err := p.admin.QueryRow(ctx, `SELECT coalesce((SELECT sync_state FROM pg_stat_replication
			WHERE state = 'streaming'), '')`).Scan(&got)
		if err != nil {
			t.Fatalf("the standby does not stream: %v", err)
		}
	}
}

// failOver kills the primary under load and promotes the standby. It returns the number of
// acknowledged requests, and the lost operations. CutOff first freezes the standby and closes its
// connection: the standby then misses up to 100 lifecycles.
func (p *pair) failOver(t *testing.T, cutOff bool) (told int, n lost) {
	ledger := &ledger{seen: map[string]progress{}, more: make(chan struct{}, 1)}
	b := open(t, p.primary.pool(t, nil), postgres.Options{Schema: p.schema})
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer stop()
	for i := range 8 {
		callers.Go(func() { ledger.work(ctx, b, fmt.Sprint("runtime-", i)) })
	}
	ledger.await(t.Context(), 100, time.Minute)
	p.awaitReplay(t)
	thaw := func() {}
	if cutOff {
		thaw = p.standby.freeze(t, p.standby.pool(t, nil))
		execute(t, p.admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
		ledger.await(t.Context(), 100, 2*time.Second)
	}
	start := time.Now()
	p.primary.Kill()
	thaw()
	stop()
	callers.Wait()
	if err := p.standby.Promote(); err != nil {
		t.Fatal(err)
	}
	after := open(t, p.standby.pool(t, nil), postgres.Options{Schema: p.schema})
	if _, err := after.Create(t.Context(), question(lasting("s"), "runtime-new")); err != nil {
		t.Errorf("the new primary: %v", err)
	}
	t.Logf("writes work again after %v", time.Since(start).Round(time.Millisecond))
	return len(ledger.seen), ledger.compare(t, after)
}

func TestAFailOverWithSynchronousReplicationLosesNothing(t *testing.T) {
	for _, cutOff := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut off %v", cutOff), func(t *testing.T) {
			p := newPair(t)
			p.wait(t)
			p.awaitStreaming(t, "sync")
			told, n := p.failOver(t, cutOff)
			t.Logf("%d requests: lost %+v", told, n)
			if told == 0 || n != (lost{}) {
				t.Errorf("of %d requests: lost %+v, want none", told, n)
			}
		})
	}
}

// The fail-over loses the primary's last moments, and the time while the standby was cut off.
func TestAFailOverWithAsynchronousReplicationLosesTheLastMoments(t *testing.T) {
	for _, cutOff := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut off %v", cutOff), func(t *testing.T) {
			p := newPair(t)
			p.awaitStreaming(t, "async")
			told, n := p.failOver(t, cutOff)
			t.Logf("%d requests: lost %+v", told, n)
			if kept := told - n.creates; kept < 50 {
				t.Errorf("%d of %d requests were kept, want at least 50", kept, told)
			}
		})
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
)

// side is one way to have requests stored, worked and answered.
type side interface {
	// run makes n lifecycles with so many callers.
	run(ctx context.Context, callers, n int) error
	close(ctx context.Context) error
}

// Question and answer of all sides.
var asked, answered = bytes.Repeat([]byte("q"), 300), bytes.Repeat([]byte("a"), 600)

// together makes n calls with so many callers, each with a mailbox of its own.
func together(callers, n int, call func(mailbox string) error) error {
	var left atomic.Int64
	left.Store(int64(n))
	failed := make(chan error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(fmt.Sprint("runtime-", i)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// floor is a table of jobs and four plain statements: what an application without a
// library would do, with rows of the same sizes, through the same pool.
type floor struct{ pool *pgxpool.Pool }

func newFloor(ctx context.Context, pool *pgxpool.Pool) (side, error) {
	_, err := pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS floor (id text COLLATE "C" PRIMARY KEY,
		mailbox bytea NOT NULL, status text NOT NULL, deadline timestamptz NOT NULL, codec text NOT NULL,
		payload bytea NOT NULL, created timestamptz NOT NULL, updated timestamptz NOT NULL,
		started timestamptz, claim text);
		CREATE INDEX IF NOT EXISTS floor_waiting ON floor (mailbox, deadline) WHERE status = 'pending'`)
	return floor{pool}, err
}

func (f floor) close(context.Context) error { return nil }

func (f floor) run(ctx context.Context, callers, n int) error {
	return together(callers, n, func(mailbox string) error { return f.life(ctx, mailbox) })
}

func (f floor) life(ctx context.Context, mailbox string) error {
	id := rand.Text()
	_, err := f.pool.Exec(ctx, `INSERT INTO floor VALUES ($1, $2, 'pending', now() + interval '1 hour',
		'json', $3, now(), now())`, id, []byte(mailbox), asked)
	if err != nil {
		return err
	}
	var payload []byte
	err = f.pool.QueryRow(ctx, `UPDATE floor SET status = 'running', started = now(), updated = now(),
		deadline = now() + interval '1 hour', claim = $2 WHERE id = (SELECT id FROM floor
		WHERE mailbox = $1 AND status = 'pending' ORDER BY deadline LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING id, payload`, []byte(mailbox), rand.Text()).Scan(&id, &payload)
	if err != nil {
		return err
	}
	_, err = f.pool.Exec(ctx, `UPDATE floor SET status = 'completed', updated = now(), payload = $2
		WHERE id = $1`, id, answered)
	if err != nil {
		return err
	}
	var status string
	return f.pool.QueryRow(ctx, "SELECT status, payload FROM floor WHERE id = $1", id).
		Scan(&status, &payload)
}

// pendingq is a Backend: Create, Claim, End, Get.
type pendingq struct {
	b    *postgres.Backend
	stop func()
	held bool // it calls Get before End, as PendingStore.Held does for a report
}

// newPendingq opens a Backend in a schema. If notified, it tells other processes of its changes,
// and this process listens.
func newPendingq(
	ctx context.Context, pool *pgxpool.Pool, schema string, notified, held bool) (side, error) {
	b, err := openBackend(ctx, pool, schema)
	if err != nil {
		return nil, err
	}
	stop := func() {}
	if notified {
		_, stop = b.WatchMailbox(ctx, "runtime-0")
	} else if err := b.Close(); err != nil { // it works on, but tells nobody
		return nil, err
	}
	return &pendingq{b, stop, held}, nil
}

func openBackend(ctx context.Context, pool *pgxpool.Pool, schema string) (
	*postgres.Backend, error) {
	err := postgres.Migrate(ctx, pool, &postgres.MigrateOptions{Schema: schema})
	if err != nil {
		return nil, err
	}
	return postgres.New(pool, &postgres.Options{Schema: schema})
}

func (p *pendingq) close(context.Context) error {
	p.stop()
	return p.b.Close()
}

func (p *pendingq) run(ctx context.Context, callers, n int) error {
	return together(callers, n, func(mailbox string) error { return p.life(ctx, mailbox) })
}

// lasting are terms that leave everything time to happen.
func lasting(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: time.Hour, RunningTimeout: time.Hour,
		Retention: time.Hour, MaxAttempts: 1}
}

func question(mailbox string) backends.Create {
	return backends.Create{Terms: lasting("s"), ID: backends.NewID(mailbox), Mailbox: mailbox,
		Codec: "raw", Payload: asked}
}

func poll(mailbox string, stores ...string) backends.Claim {
	c := backends.Claim{ID: backends.NewID(mailbox), Mailbox: mailbox}
	for _, store := range stores {
		c.From = append(c.From, backends.From{Terms: lasting(store), Limit: 1})
	}
	return c
}

func (p *pendingq) life(ctx context.Context, mailbox string) error {
	if _, err := p.b.Create(ctx, question(mailbox)); err != nil {
		return err
	}
	got, err := p.b.Claim(ctx, poll(mailbox, "s"))
	if err != nil || len(got[0].Records) != 1 {
		return fmt.Errorf("claimed %v: %w", got, err)
	}
	end := backends.End{Terms: lasting("s"), ID: got[0].Records[0].ID, Attempt: 1,
		Outcome: backends.StatusCompleted, Codec: "raw", Payload: answered}
	if p.held {
		if _, err := p.b.Get(ctx, "s", end.ID); err != nil {
			return err
		}
	}
	if _, err := p.b.End(ctx, end); err != nil {
		return err
	}
	_, err = p.b.Get(ctx, "s", end.ID)
	return err
}

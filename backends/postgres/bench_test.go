package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends/postgres"
)

// BenchmarkLifecycles compares a request's life with the floor: what an application would do by
// itself, with rows of the same sizes, through the same pool. Both take turns in one run, so their
// ratio holds on a loaded machine, too. The server's fsync is on.
//
//	go test -run - -bench Lifecycles -benchtime 5000x
func BenchmarkLifecycles(b *testing.B) {
	for _, commit := range []string{"on", "off"} {
		for _, callers := range []int{16, 64} {
			b.Run(fmt.Sprintf("synchronous_commit=%s/callers=%d", commit, callers), func(b *testing.B) {
				compare(b, commit, callers)
			})
		}
	}
}

func compare(b *testing.B, commit string, callers int) {
	s := startServer(b, "fsync=on", "shared_buffers=128MB")
	pool := s.pool(b, func(c *pgxpool.Config) {
		c.MaxConns = 16
		c.ConnConfig.RuntimeParams["synchronous_commit"] = commit
	})
	sides := map[string]func(ctx context.Context, mailbox string) error{
		"floor":    newFloor(b, pool).life,
		"notified": newLives(b, pool, false).life,
		"polled":   newLives(b, pool, true).life,
	}
	took, server, own := map[string]time.Duration{}, map[string]time.Duration{}, map[string]time.Duration{}
	const rounds = 4
	for round := -1; round < rounds; round++ {
		for name, life := range sides {
			start, served, used := time.Now(), serverCPU(b, s), ownCPU()
			liveTogether(b, callers, max(b.N/rounds, callers), life)
			if round >= 0 { // the first one warms up
				took[name] += time.Since(start)
				server[name] += serverCPU(b, s) - served
				own[name] += ownCPU() - used
			}
		}
	}
	n := float64(max(b.N/rounds, callers) * rounds)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/took["floor"].Seconds(), "floor/s")
	for _, name := range []string{"notified", "polled"} {
		b.ReportMetric(took["floor"].Seconds()/took[name].Seconds(), name+"/floor")
	}
	for name := range sides {
		b.ReportMetric(float64(server[name].Microseconds())/n, name+"-server-us")
		b.ReportMetric(float64(own[name].Microseconds())/n, name+"-client-us")
	}
}

// serverCPU is the processor time of the server so far.
func serverCPU(b *testing.B, s *server) time.Duration {
	cpu, err := s.CPU()
	if err != nil {
		b.Fatal(err)
	}
	return cpu
}

// ownCPU is the processor time of this process so far.
func ownCPU() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err) // it has no reason to
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// liveTogether makes n lifecycles with so many callers, each with a mailbox of its own.
func liveTogether(b *testing.B, callers, n int, life func(context.Context, string) error) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := life(b.Context(), fmt.Sprint("runtime-", i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// floor is a table of jobs and four plain statements.
type floor struct{ pool *pgxpool.Pool }

func newFloor(b *testing.B, pool *pgxpool.Pool) floor {
	_, err := pool.Exec(b.Context(), `CREATE TABLE floor (id text COLLATE "C" PRIMARY KEY,
		mailbox bytea NOT NULL, status text NOT NULL, deadline timestamptz NOT NULL, codec text NOT NULL,
		payload bytea NOT NULL, created timestamptz NOT NULL, updated timestamptz NOT NULL,
		started timestamptz, claim text);
		CREATE INDEX ON floor (mailbox, deadline) WHERE status = 'pending'`)
	if err != nil {
		b.Fatal(err)
	}
	return floor{pool}
}

var asked, answered = make([]byte, 300), make([]byte, 600)

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

// lives are lifecycles of a Backend.
type lives struct{ b *postgres.Backend }

func newLives(b *testing.B, pool *pgxpool.Pool, pollOnly bool) lives {
	backend := open(b, pool, postgres.Options{Schema: newSchema(b, pool)})
	if pollOnly { // without its statements that are not prepared
		backend.Close()
	} else {
		_, stop := backend.WatchMailbox(b.Context(), box)
		b.Cleanup(stop)
	}
	return lives{backend}
}

func (l lives) life(ctx context.Context, mailbox string) error {
	t := lasting("s")
	c := question(t, mailbox)
	c.Payload = asked
	if _, err := l.b.Create(ctx, c); err != nil {
		return err
	}
	got, err := l.b.Claim(ctx, poll(mailbox, t))
	if err != nil || len(got[0].Records) != 1 {
		return fmt.Errorf("claimed %v: %w", got, err)
	}
	end := report(t, got[0].Records[0].ID, 1)
	end.Payload = answered
	if _, err := l.b.End(ctx, end); err != nil {
		return err
	}
	_, err = l.b.Get(ctx, t.Store, end.ID)
	return err
}

// BenchmarkPickUp measures how long a waiter of another process takes to hear of a request: from
// the call of Create, or of Commit, to its signal. Nothing else happens meanwhile.
func BenchmarkPickUp(b *testing.B) {
	for _, inTx := range []bool{false, true} {
		b.Run(fmt.Sprintf("tx=%v", inTx), func(b *testing.B) { pickUp(b, inTx) })
	}
}

func pickUp(b *testing.B, inTx bool) {
	s := startServer(b, "fsync=on")
	pool := s.pool(b, nil)
	opts := postgres.Options{Schema: newSchema(b, pool)}
	one, two := open(b, pool, opts), open(b, pool, opts)
	signal, stop := two.WatchMailbox(b.Context(), box)
	defer stop()
	drain(signal)
	var took []time.Duration
	for range b.N {
		start := time.Now()
		if err := createFor(b.Context(), one, pool, inTx, &start); err != nil {
			b.Fatal(err)
		}
		<-signal
		took = append(took, time.Since(start))
		<-time.After(gap) // else notifications are gathered
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

const gap = 15 * time.Millisecond

// createFor creates a request. Start is when its commit begins.
func createFor(ctx context.Context, node *postgres.Backend, pool *pgxpool.Pool, inTx bool,
	start *time.Time) error {
	c := question(lasting("s"), box)
	if !inTx {
		_, err := node.Create(ctx, c)
		return err
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := node.Create(postgres.InTx(ctx, tx), c); err != nil {
		return err
	}
	*start = time.Now()
	return tx.Commit(ctx)
}

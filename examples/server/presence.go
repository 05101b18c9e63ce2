package main

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// onlineFor is how long a runtime counts as online after a heartbeat arrives. A parked heartbeat
// lasts up to a minute.
const onlineFor = 2 * time.Minute

// redisPresence is shared by all nodes. It has a key for each runtime, which expires.
type redisPresence struct {
	client redis.UniversalClient
	prefix string
}

func (p *redisPresence) key(runtimeID string) string { return p.prefix + "presence:" + runtimeID }

// Seen implements [skillshttp.Presence].
func (p *redisPresence) Seen(ctx context.Context, runtimeID string) error {
	return p.client.Set(ctx, p.key(runtimeID), "1", onlineFor).Err()
}

// Online implements [skillshttp.Presence].
func (p *redisPresence) Online(ctx context.Context, runtimeID string) (bool, error) {
	n, err := p.client.Exists(ctx, p.key(runtimeID)).Result()
	return n > 0, err
}

// postgresPresence is shared by all nodes. It has a row for each runtime.
type postgresPresence struct{ pool *pgxpool.Pool }

// migrate makes the table. Two nodes may do so at once.
func (p *postgresPresence) migrate(ctx context.Context) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('pendingq presence'))`)
		if err == nil {
			_, err = tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS pendingq_presence
				(runtime text PRIMARY KEY, seen timestamptz NOT NULL)`)
		}
		return err
	})
}

// Seen implements [skillshttp.Presence].
func (p *postgresPresence) Seen(ctx context.Context, runtimeID string) error {
	_, err := p.pool.Exec(ctx, `INSERT INTO pendingq_presence VALUES ($1, clock_timestamp())
		ON CONFLICT (runtime) DO UPDATE SET seen = clock_timestamp()`, runtimeID)
	return err
}

// Online implements [skillshttp.Presence].
func (p *postgresPresence) Online(ctx context.Context, runtimeID string) (online bool, err error) {
	err = p.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pendingq_presence
		WHERE runtime = $1 AND seen > clock_timestamp() - $2::interval)`,
		runtimeID, onlineFor).Scan(&online)
	return online, err
}

// memoryPresence is for a single node. It has at most one entry for each runtime in the tokens
// file.
type memoryPresence struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func newMemoryPresence() *memoryPresence { return &memoryPresence{seen: map[string]time.Time{}} }

// Seen implements [skillshttp.Presence].
func (p *memoryPresence) Seen(_ context.Context, runtimeID string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[runtimeID] = time.Now()
	return nil
}

// Online implements [skillshttp.Presence].
func (p *memoryPresence) Online(_ context.Context, runtimeID string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, ok := p.seen[runtimeID]
	return ok && time.Since(seen) < onlineFor, nil
}

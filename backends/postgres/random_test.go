package postgres_test

import (
	"flag"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/postgres"
)

var operations = flag.Int("ops", 5_000, "how many calls the histories make")

func TestMachine(t *testing.T) {
	t.Parallel()
	commonPool(t)
	backendtest.Machine(t, func(t *testing.T) backends.Backend { return openNew(t) })
}

// The faults terminate all connections, and each fourth one kills the server.
func TestHistories(t *testing.T) {
	t.Parallel()
	s := startServer(t, "fsync=on", "restart_after_crash=off")
	pool := s.pool(t, func(c *pgxpool.Config) { c.MaxConns = 32 })
	other := s.pool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	schema := newSchema(t, pool)
	disturb := func(turn int) {
		if turn%4 != 0 {
			terminate(t, other)
			return
		}
		s.Kill()
		s.relaunch(t)
	}
	backendtest.Histories(t, func(t *testing.T) backends.Backend {
		return open(t, pool, postgres.Options{Schema: schema})
	}, &backendtest.HistoriesOptions{Operations: *operations, Faults: max(8, *operations/500),
		Disturb: disturb})
}

package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/internal/postgrestest"
)

// server is a PostgreSQL cluster or a pgbouncer of a test.
type server struct{ *postgrestest.Server }

// startServer makes a new cluster with further settings, "name=value" each, and starts it.
func startServer(t testing.TB, settings ...string) *server {
	t.Helper()
	return &server{postgrestest.Start(t, settings...)}
}

// relaunch starts the server again after Kill.
func (s *server) relaunch(t testing.TB) {
	t.Helper()
	if err := s.Relaunch(); err != nil {
		t.Fatal(err)
	}
}

// pool is a pool of connections to the server, closed with the test. Change may be nil.
func (s *server) pool(t testing.TB, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	pool, err := openPool(s.URL, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func openPool(url string, change func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	conf, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	conf.MaxConns = 32
	if change != nil {
		change(conf)
	}
	return pgxpool.NewWithConfig(context.Background(), conf)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/internal/redisurl"
	"github.com/pendingq/pendingq/skills/catalogue"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// shared has the backend, and the state that all nodes share over it.
type shared struct {
	backend   backends.Backend
	presence  skillshttp.Presence
	catalogue skillshttp.Catalogue
	check     func(context.Context) error // fails if the backend does not work now
	close     func()
}

// openBackend opens the backend of the options, by the scheme of its URL.
func openBackend(ctx context.Context, o options, logger *slog.Logger) (*shared, error) {
	switch scheme, _, _ := strings.Cut(o.backend, ":"); scheme {
	case "memory":
		logger.Warn("requests are kept in memory: other nodes do not see them, " +
			"and they are lost when this process ends; see -backend")
		return &shared{backend: memory.New(), presence: newMemoryPresence(),
			catalogue: &catalogue.Memory{},
			check:     func(context.Context) error { return nil }, close: func() {}}, nil
	case "postgres", "postgresql":
		return openPostgres(ctx, o.backend, logger)
	case "redis", "rediss", "unix":
		return openRedis(ctx, o.backend, o.prefix, logger)
	}
	return nil, &optionError{"backend", errors.New( // the URL may have a password
		"the URL begins with none of memory:, redis://, rediss://, unix:// and postgres://")}
}

func openRedis(ctx context.Context, url, prefix string, logger *slog.Logger) (*shared, error) {
	client, addr, err := redisurl.Client(url)
	if err != nil {
		return nil, &optionError{"backend", err}
	}
	b, err := goredis.New(client, &goredis.Options{Prefix: prefix})
	if err != nil {
		return nil, errors.Join(&optionError{"prefix", err}, client.Close())
	}
	s := &shared{backend: b, presence: &redisPresence{client: client, prefix: prefix},
		catalogue: catalogue.NewRedis(client, prefix), check: b.Check, close: func() {
			_ = b.Close()
			_ = client.Close()
		}}
	err = s.reach(ctx, logger, func(ctx context.Context) error { return client.Ping(ctx).Err() },
		func(ctx context.Context) ([]backends.Finding, error) {
			return goredis.Diagnose(ctx, client, &goredis.Options{Prefix: prefix})
		})
	if err != nil {
		s.close()
		return nil, fmt.Errorf("use Redis at %s: %w", addr, err)
	}
	return s, nil
}

// openPostgres also brings the schema up to date. It sets no catalogue, so each request for models
// goes to the runtime.
func openPostgres(ctx context.Context, url string, logger *slog.Logger) (*shared, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, &optionError{"backend", errors.New( // err may quote a password
			"the URL is not like postgres://user:password@host:port/database")}
	}
	config.MaxConns = max(config.MaxConns, 4) // package postgres needs 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	b, err := postgres.New(pool, nil)
	if err != nil {
		pool.Close()
		return nil, err
	}
	presence := &postgresPresence{pool}
	s := &shared{backend: b, presence: presence, check: b.Check, close: func() {
		_ = b.Close()
		pool.Close()
	}}
	err = s.reach(ctx, logger, func(ctx context.Context) error {
		return errors.Join(postgres.Migrate(ctx, pool, nil), presence.migrate(ctx))
	}, func(ctx context.Context) ([]backends.Finding, error) {
		return postgres.Diagnose(ctx, pool, nil)
	})
	if err != nil {
		s.close()
		return nil, fmt.Errorf("use PostgreSQL at %s: %w", config.ConnConfig.Host, err)
	}
	return s, nil
}

// reachTime is how long the server waits for the backend when it starts.
const reachTime = 10 * time.Second

// reach returns an error if the backend does not work. It logs the warnings and problems that
// diagnose finds.
func (s *shared) reach(
	ctx context.Context, logger *slog.Logger, prepare func(context.Context) error,
	diagnose func(context.Context) ([]backends.Finding, error)) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := prepare(ctx); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	findings, err := diagnose(ctx)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Severity != backends.SeverityInfo {
			logger.Warn("backend: "+f.Text, "severity", f.Severity, "subject", f.Subject,
				"server", cmp.Or(f.Server, "client"), "advice", f.Advice)
		}
	}
	return nil
}

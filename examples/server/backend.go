package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redisurl"
	"github.com/pendingq/pendingq/skills/catalogue"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// shared is what all nodes have in common.
type shared struct {
	backend   backends.Backend
	presence  skillshttp.Presence
	catalogue skillshttp.Catalogue
	check     func(context.Context) error // whether it works now
	close     func()
}

// openBackend connects to Redis, or makes a backend in memory.
func openBackend(ctx context.Context, o options, logger *slog.Logger) (*shared, error) {
	if o.redis == "" {
		logger.Warn("requests are kept in memory: other nodes do not share them, " +
			"and they end with this process; see -redis")
		return &shared{backend: memory.New(), presence: newMemoryPresence(),
			catalogue: &catalogue.Memory{},
			check:     func(context.Context) error { return nil }, close: func() {}}, nil
	}
	opts, err := redisurl.Parse(o.redis)
	if err != nil {
		return nil, &optionError{"redis", err}
	}
	client := redis.NewClient(opts)
	b, err := goredis.New(client, &goredis.Options{Prefix: o.prefix})
	if err != nil {
		return nil, errors.Join(&optionError{"prefix", err}, client.Close())
	}
	s := &shared{backend: b, presence: &redisPresence{client: client, prefix: o.prefix},
		catalogue: catalogue.NewRedis(client, o.prefix), check: b.Check, close: func() {
			_ = b.Close()
			_ = client.Close()
		}}
	if err := s.reach(ctx, client, o.prefix, logger); err != nil {
		s.close()
		return nil, fmt.Errorf("use Redis at %s: %w", opts.Addr, err)
	}
	return s, nil
}

// reachTime is how long Redis may take to be reached when the server starts.
const reachTime = 10 * time.Second

// reach fails if the server cannot be used, and logs what makes it unsafe.
func (s *shared) reach(ctx context.Context, client redis.UniversalClient, prefix string, logger *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	findings, err := goredis.Diagnose(ctx, client, &goredis.Options{Prefix: prefix})
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Severity != backends.SeverityInfo {
			logger.Warn("redis: "+f.Text, "severity", f.Severity, "subject", f.Subject,
				"server", cmp.Or(f.Server, "client"), "advice", f.Advice)
		}
	}
	return nil
}

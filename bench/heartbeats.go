package bench

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/skills"
)

// Beats are heartbeats of a runtime over five stores.
type Beats struct {
	Idle Do // nothing is pending
	Busy Do // asks for a ping, which the heartbeat then brings
}

// LibraryBeats returns the heartbeats of pendingq over a backend.
func LibraryBeats(b backends.Backend) (Beats, error) {
	stores, err := skills.New(b)
	if err != nil {
		return Beats{}, err
	}
	return Beats{
		Idle: func(ctx context.Context, runtime string) error {
			_, err := stores.Heartbeat(ctx, runtime)
			return err
		},
		Busy: func(ctx context.Context, runtime string) error {
			if _, err := stores.Pings.Create(ctx, runtime, skills.Ping{}); err != nil {
				return err
			}
			work, err := stores.Heartbeat(ctx, runtime)
			if err == nil && work.Ping == nil {
				err = errors.New("the heartbeat brought no ping")
			}
			return err
		},
	}, nil
}

// RedisBeats returns the heartbeats of pendingq over Redis, with default options.
func RedisBeats(client redis.UniversalClient) (Beats, error) {
	b, err := goredis.New(client, nil)
	if err != nil {
		return Beats{}, err
	}
	return LibraryBeats(b)
}

// HeartbeatSides are what heartbeats over five stores are compared between.
var HeartbeatSides = []string{
	"original, idle", "pendingq, idle", "original, with a ping", "pendingq, with a ping"}

// Heartbeats compares heartbeats over five stores, with 16 callers, of 10,000 runtimes in turn.
func (s *Suite) Heartbeats(ctx context.Context) (Runs, error) {
	const callers, runtimes = 16, 10_000
	client, err := s.empty(ctx, callers)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	library, err := RedisBeats(client)
	if err != nil {
		return nil, err
	}
	old := OriginalBeats(client)
	var sides []Side
	for i, do := range []Do{old.Idle, library.Idle, old.Busy, library.Busy} {
		name := HeartbeatSides[i]
		sides = append(sides, Side{name, among(name, runtimes, do)})
	}
	return s.compare(ctx, "heartbeats", sides, callers, s.Each, client)
}

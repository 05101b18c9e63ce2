package bench

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
)

// sweepCallers call at a time in sweeps.
const sweepCallers = 16

// Point is a measurement at one size of something.
type Point struct {
	Side   string  // what was measured
	Size   int     // runtimes, live requests, or bytes of an answer
	Bytes  float64 // of a pending request; 0 where that is not measured
	Result Result
}

// among makes each call for the next of so many mailboxes.
func among(prefix string, mailboxes int, call func(ctx context.Context, mailbox string) error) func(context.Context, string) error {
	var next atomic.Int64
	return func(ctx context.Context, _ string) error {
		return call(ctx, fmt.Sprint(prefix, next.Add(1)%int64(mailboxes)))
	}
}

// Heartbeats measures heartbeats over five stores, idle and after a ping was asked for, of so many runtimes in turn.
func (s *Suite) Heartbeats(ctx context.Context, counts []int) (points []Point, err error) {
	client := NewClient(s.Addr, sweepCallers)
	defer client.Close()
	overRedis, err := goredis.New(client, &goredis.Options{Prefix: "bench:"})
	if err != nil {
		return nil, err
	}
	beats := map[string]func(context.Context, string) error{}
	for name, b := range map[string]backends.Backend{"memory": memory.New(), "redis": overRedis} {
		stores, err := skills.New(b)
		if err != nil {
			return nil, err
		}
		beats[name+", idle"] = func(ctx context.Context, runtime string) error {
			_, err := stores.Heartbeat(ctx, runtime)
			return err
		}
		beats[name+", with a ping"] = func(ctx context.Context, runtime string) error {
			if _, err := stores.Pings.Create(ctx, runtime, skills.Ping{}); err != nil {
				return err
			}
			_, err := stores.Heartbeat(ctx, runtime)
			return err
		}
	}
	beats["original, idle"] = original{client: client}.Heartbeat
	for _, side := range HeartbeatSides {
		for _, runtimes := range counts {
			r, err := Run(ctx, among(side, runtimes, beats[side]), sweepCallers, s.Swept, client)
			if err != nil {
				return nil, fmt.Errorf("heartbeats of %s: %w", side, err)
			}
			points = append(points, Point{Side: side, Size: runtimes, Result: r})
			s.Progress("heartbeats of %d runtimes: %-20s %7.0f/s", runtimes, side, r.PerSecond())
		}
	}
	return points, nil
}

// HeartbeatSides are what Heartbeats measures.
var HeartbeatSides = []string{"memory, idle", "memory, with a ping", "original, idle", "redis, idle", "redis, with a ping"}

// AnswerSides are what Answers measures.
var AnswerSides = []string{"original", "redis"}

// Answers measures lifecycles whose answers have so many bytes, fewer the larger they are. It empties the server.
func (s *Suite) Answers(ctx context.Context, sizes []int) (points []Point, err error) {
	const volume = 200 << 20 // bytes of answers, which the server keeps for a while
	client := NewClient(s.Addr, sweepCallers)
	defer client.Close()
	overRedis, err := NewRedis(client, "msgpack", goredis.AutoPipelineNever)
	if err != nil {
		return nil, err
	}
	stacks := map[string]Stack{"original": NewOriginal(client), "redis": overRedis}
	for _, size := range sizes {
		for _, side := range AnswerSides {
			if err := client.FlushAll(ctx).Err(); err != nil {
				return nil, err
			}
			n := min(s.Swept, volume/size)
			r, err := Run(ctx, Answering(stacks[side], size).Lifecycle, sweepCallers, n, client)
			if err != nil {
				return nil, fmt.Errorf("answers of %s: %w", side, err)
			}
			points = append(points, Point{Side: side, Size: size, Result: r})
			s.Progress("answers of %d bytes: %-20s %7.0f lifecycles/s, server CPU %v", size, side, r.PerSecond(), r.ServerCPU)
		}
	}
	return points, client.FlushAll(ctx).Err()
}

// GrowthSides are what Growth measures.
var GrowthSides = []string{"memory, one mailbox", "memory, many", "redis, one mailbox", "redis, many"}

// Growth measures lifecycles among more and more live requests, in the mailboxes that have them: one, or one for ten
// requests. It empties the server.
func (s *Suite) Growth(ctx context.Context, sizes []int) (points []Point, err error) {
	client := NewClient(s.Addr, 64)
	defer client.Close()
	for _, side := range GrowthSides {
		grown, err := s.grow(ctx, side, sizes, client)
		if err != nil {
			return nil, fmt.Errorf("growth of %s: %w", side, err)
		}
		points = append(points, grown...)
	}
	return points, client.FlushAll(ctx).Err()
}

func (s *Suite) grow(ctx context.Context, side string, sizes []int, client *redis.Client) (points []Point, err error) {
	var stack, filler Stack
	var used func() (float64, error)
	switch side {
	case "memory, one mailbox", "memory, many":
		stack, err = NewMemory("msgpack")
		filler = stack
		used = func() (float64, error) { return heap(), nil }
	default:
		if err := client.FlushAll(ctx).Err(); err != nil {
			return nil, err
		}
		used = func() (float64, error) { return Memory(ctx, client) }
		if stack, err = NewRedis(client, "msgpack", goredis.AutoPipelineNever); err == nil {
			filler, err = NewRedis(client, "msgpack", goredis.AutoPipelineAlways)
		}
	}
	if err != nil {
		return nil, err
	}
	live := 0
	for _, size := range sizes {
		mailboxes := 1
		if side == "memory, many" || side == "redis, many" {
			mailboxes = size / 10
		}
		before, err := used() // with what earlier lifecycles left, which have ended
		if err != nil {
			return nil, err
		}
		added := size - live
		if err := Fill(ctx, filler, added, mailboxes); err != nil {
			return nil, err
		}
		live = size
		after, err := used()
		if err != nil {
			return nil, err
		}
		r, err := Run(ctx, among("filled-", mailboxes, stack.Lifecycle), sweepCallers, s.Swept, client)
		if err != nil {
			return nil, err
		}
		points = append(points, Point{Side: side, Size: live, Bytes: (after - before) / float64(added), Result: r})
		s.Progress("%d live requests: %-20s %7.0f lifecycles/s", live, side, r.PerSecond())
	}
	return points, nil
}

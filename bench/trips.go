package bench

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Trips counts the round trips of a lifecycle and of heartbeats of pendingq.
func (s *Suite) Trips(ctx context.Context) ([]Ratio, error) {
	client, err := s.empty(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	stack, err := NewRedis(client, nil)
	if err != nil {
		return nil, err
	}
	beats, err := RedisBeats(client)
	if err != nil {
		return nil, err
	}
	operations := []struct {
		name   string
		target float64
		do     Do
	}{
		{"round trips of a lifecycle", 4, stack.Lifecycle},
		{"round trips of a lifecycle whose report loads its claim", 5, Held(stack).Lifecycle},
		{"round trips of an idle heartbeat over five stores", 1, beats.Idle},
		{"round trips of a ping and the heartbeat that brings it", 2, beats.Busy},
	}
	counted := &tripCounter{}
	client.AddHook(counted)
	var ratios []Ratio
	for _, o := range operations {
		var trips int64
		for range 2 { // the first time, scripts are sent in full
			before := counted.Load()
			if err := o.do(ctx, "trips"); err != nil {
				return nil, err
			}
			trips = counted.Load() - before
		}
		ratios = append(ratios,
			Ratio{Name: o.name, Got: float64(trips), Target: o.target, AtMost: true})
	}
	return ratios, nil
}

// tripCounter is a hook that counts the round trips of a client.
type tripCounter struct{ atomic.Int64 }

func (c *tripCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *tripCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmd)
	}
}

func (c *tripCounter) ProcessPipelineHook(
	next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmds)
	}
}

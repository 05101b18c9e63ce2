package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/redis/go-redis/v9"
)

// floor is four plain commands, with values of the sizes that a lifecycle stores.
type floor struct {
	client      redis.Cmdable
	live, ended []byte
}

// NewFloor returns a stack of four plain commands.
func NewFloor(client redis.Cmdable) Stack {
	f, rec := floor{client: client}, newOriginalRecord("runtime-1")
	f.live, _ = json.Marshal(rec) // of strings and times
	rec.Output = answer
	f.ended, _ = json.Marshal(rec)
	return f
}

// NewGatheredFloor returns the same through an autopipeliner with the options that goredis uses.
func NewGatheredFloor(client *redis.Client) (Stack, error) {
	opts := redis.DefaultAutoPipelineOptions()
	opts.FullDuplex, opts.MaxFlushDelay = true, 50*time.Microsecond
	gathering, err := client.AsyncAutoPipelineWithOptions(opts)
	return NewFloor(gathering), err
}

func (f floor) Create(ctx context.Context, _ string) error {
	return f.client.Set(ctx, "floor:"+rand.Text(), f.live, originalRetention).Err()
}

func (f floor) Lifecycle(ctx context.Context, _ string) error {
	key := "floor:" + rand.Text()
	for _, value := range [][]byte{f.live, f.ended} {
		if err := f.client.Set(ctx, key, value, originalRetention).Err(); err != nil {
			return err
		}
		if err := f.client.Get(ctx, key).Err(); err != nil {
			return err
		}
	}
	return nil
}

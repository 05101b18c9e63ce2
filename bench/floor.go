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

// gathering sends commands through an autopipeliner with the options that goredis uses.
func gathering(client *redis.Client) (redis.Cmdable, error) {
	opts := redis.DefaultAutoPipelineOptions()
	opts.FullDuplex, opts.MaxFlushDelay = true, 50*time.Microsecond
	return client.AsyncAutoPipelineWithOptions(opts)
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

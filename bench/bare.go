package bench

import (
	"context"
	"crypto/rand"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends/goredis"
)

// bare is what a design costs at least whose operations are one step each, by the server's clock, on this server: a script
// of the fewest commands for each. It is how far one can go without giving these two up. It keeps no deadline and no cap,
// checks nothing, recognizes no repeat and wakes nobody.
type bare struct {
	client      redis.Scripter
	live, ended []byte
}

// NewBare is four scripts of the fewest commands, with values of the sizes that a lifecycle stores. If they are pipelined,
// the client has an autopipeliner of this kind already, and that is used.
func NewBare(client *redis.Client, pipeline goredis.AutoPipeline) (Stack, error) {
	b := bare{client: client}
	b.live, b.ended = floor{}.values()
	if pipeline != goredis.AutoPipelineNever {
		var err error
		if b.client, err = client.AsyncAutoPipeline(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

var (
	bareCreate = redis.NewScript(`
local time = redis.call('TIME')
redis.call('SET', KEYS[1], time[1] .. time[2] .. ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], time[1], KEYS[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return time[1]`)

	barePop = redis.NewScript(`
local key = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'LIMIT', '0', '1')[1]
if not key then return nil end
local time, record = redis.call('TIME'), redis.call('GET', key)
redis.call('ZREM', KEYS[1], key)
redis.call('SET', key, time[1] .. time[2] .. record, 'PX', ARGV[1])
return {key, record}`)

	bareComplete = redis.NewScript(`
local time, record = redis.call('TIME'), redis.call('GET', KEYS[1])
if not record then return nil end
redis.call('SET', KEYS[1], time[1] .. time[2] .. ARGV[1], 'PX', ARGV[2])
return time[1]`)

	bareGet = redis.NewScript(`return redis.call('GET', KEYS[1])`)
)

func (bare) queue(mailbox string) string { return "bare:q:" + mailbox }

func (b bare) Create(ctx context.Context, mailbox string) error {
	keys := []string{"bare:r:" + rand.Text(), b.queue(mailbox)}
	return bareCreate.Run(ctx, b.client, keys, b.live, originalRetention.Milliseconds()).Err()
}

func (b bare) Lifecycle(ctx context.Context, mailbox string) error {
	if err := b.Create(ctx, mailbox); err != nil {
		return err
	}
	popped, err := barePop.Run(ctx, b.client, []string{b.queue(mailbox)}, originalRetention.Milliseconds()).StringSlice()
	if err != nil {
		return err
	}
	record := popped[:1]
	if err := bareComplete.Run(ctx, b.client, record, b.ended, originalRetention.Milliseconds()).Err(); err != nil {
		return err
	}
	return bareGet.Run(ctx, b.client, record).Err()
}

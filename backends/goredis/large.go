package goredis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

// Redis makes a Lua string of all that passes through a script and hashes every byte of it. For large values that takes
// ten times as long as to store or to send them, and everybody else waits meanwhile. So large answers pass by the
// scripts: End stages one with a plain SET, right before the script that moves it into place, and Get reads one
// with a plain GET, once its script has found that it has ended: from then on it never changes. What else may be large,
// as a question or the answer to a late report, is rare, and goes through.

const (
	// largeAnswer is how many bytes a payload has to exceed for its ending to be staged.
	largeAnswer = 4 << 10

	// largeRecord is how many bytes a record that has ended has to exceed to be read with a plain GET, at the price of a
	// second round trip.
	largeRecord = 16 << 10
)

// stagedFor is how long a staged ending waits for its script, which comes right behind it.
const stagedFor = 10 * time.Second

// endStaged ends a request with a large ending. It reports false, and has done nothing, where that has to be done in the
// ordinary way: the mailbox, which stands in front of the ending, is not as long as the caller's; the server has no memory
// left for what is staged; or it is moving the slot, and has only one of two keys.
func (b *Backend) endStaged(ctx context.Context, e backends.End, k keys, terms string) (v verdict, done bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, true, err
	}
	head := claimedHead + len(e.Mailbox)
	staged := k.staged(e.ID)
	stage := redis.NewStatusCmd(ctx, "set", staged, appendEnding(make([]byte, head), e), "px", stagedFor.Milliseconds())
	reply, err := b.runBehind(ctx, stage, b.scripts.end, []string{k.record(e.ID), staged}, terms, strconv.Itoa(head))
	var answer redis.Error
	if errors.As(err, &answer) { // the script has not come to its end
		_ = b.client.Unlink(ctx, staged) // else it goes when its time is up
	}
	if err != nil {
		return v, !redis.HasErrorPrefix(err, "TRYAGAIN"), err
	}
	v, err = judge(reply, e.ID)
	return v, v.code != "unstaged", err
}

// runBehind runs a script right behind another command, in one round trip. On a Cluster it takes two: go-redis 9.23 may
// have two goroutines work on one pipeline when some of it is redirected and the rest is sent again.
func (b *Backend) runBehind(ctx context.Context, first redis.Cmder, s script, keys []string, args ...any) (any, error) {
	if _, single := b.client.(*redis.Client); !single {
		_ = b.client.Process(ctx, first) // without it the script says so
		return b.run(ctx, s, keys, args...)
	}
	cmd := s.byHash(ctx, keys, args)
	pipe := b.client.Pipeline()
	_, _ = pipe.Process(ctx, first), pipe.Process(ctx, cmd) // queues them
	_, _ = pipe.Exec(ctx)                                   // each has its error
	b.noteLoss(ctx, cmd.Err())
	reply, err := cmd.Result()
	if unknownScript(err) {
		reply, err = b.process(ctx, s.inFull(ctx, keys, args))
	}
	return reply, s.explain(err)
}

// getLarge reads a large record that has ended. A replica, which a client may read from, can be behind: then the script
// reads it after all.
func (b *Backend) getLarge(ctx context.Context, id, key string) (backends.Record, error) {
	stored, err := b.client.Get(ctx, key).Result()
	if err == nil {
		if rec, err := decodeGet(id, stored); err == nil && rec.Ended() {
			return rec, nil
		}
	}
	return b.get(ctx, id, key, "whole")
}

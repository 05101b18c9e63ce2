package goredis

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

var _ backends.ManyClaimer = (*Backend)(nil)

// manyAtOnce is how many claims go into one pipeline.
const manyAtOnce = 500

// ClaimMany implements [backends.ManyClaimer]: one pipeline of a script a claim, which go-redis
// sends in one round trip, or on a Cluster in one a node, all at the same time.
func (b *Backend) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	results := make([]backends.ClaimResult, 0, len(claims))
	for chunk := range slices.Chunk(claims, manyAtOnce) {
		results = append(results, b.claimChunk(ctx, chunk)...)
	}
	return results
}

func (b *Backend) claimChunk(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	results := make([]backends.ClaimResult, len(claims))
	todo := make([]int, len(claims))
	for i := range claims {
		todo[i] = i
	}
	for {
		todo = b.claimPipeline(ctx, claims, todo, results)
		if len(todo) == 0 {
			return results
		}
		// A server that does not know the script gets it with one claim, and then the others again.
		results[todo[0]].Claimed, results[todo[0]].Err = b.Claim(ctx, claims[todo[0]])
		todo = todo[1:]
	}
}

// claimPipeline makes the claims whose places are in todo, and returns the places of the claims
// whose server does not know the script.
func (b *Backend) claimPipeline(ctx context.Context, claims []backends.Claim, todo []int, results []backends.ClaimResult) (unknown []int) {
	if len(todo) == 0 {
		return nil
	}
	pipe := b.client.Pipeline()
	cmds := make([]*redis.Cmd, len(todo))
	for i, at := range todo {
		keys, terms := b.claimWords(claims[at])
		cmds[i] = b.scripts.claim.byHash(ctx, keys, []any{terms})
		_ = pipe.Process(ctx, cmds[i]) // queues it
	}
	_, sent := pipe.Exec(ctx)
	for i, at := range todo {
		reply, err := resultOf(ctx, cmds[i], sent)
		if unknownScript(err) {
			unknown = append(unknown, at)
		}
		results[at].Claimed, results[at].Err = b.claimed(ctx, claims[at], reply, err)
	}
	return unknown
}

package goredis

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

// ClaimMany implements [backends.ManyClaimer]. Up to 500 claims take one round trip. On a Cluster
// they take one round trip per node, all at the same time.
func (b *Backend) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	results := make([]backends.ClaimResult, len(claims))
	todo := make([]int, len(claims))
	for i := range claims {
		todo[i] = i
	}
	for len(todo) > 0 {
		now := todo[:min(500, len(todo))]
		todo = todo[len(now):]
		unknown := b.claimPipeline(ctx, claims, now, results)
		if len(unknown) > 0 { // one claim sends the whole script; then the others are repeated
			first := unknown[0]
			results[first].Claimed, results[first].Err = b.Claim(ctx, claims[first])
			todo = append(unknown[1:], todo...)
		}
	}
	return results
}

// claimPipeline makes the claims at these places in one pipeline, and stores their results at the
// same places. It returns the places of claims that failed because a server does not know the
// script.
func (b *Backend) claimPipeline(ctx context.Context, claims []backends.Claim, places []int,
	results []backends.ClaimResult) (unknown []int) {
	cmds := make([]redis.Cmder, len(places))
	for i, at := range places {
		keys, terms := b.claimWords(claims[at])
		cmds[i] = command(ctx, b.scripts.claim.hashed, keys, []any{terms})
	}
	_ = b.pipeline(ctx, cmds...) // each command has its error
	for i, at := range places {
		reply, err := cmds[i].(*redis.Cmd).Result()
		if unknownScript(err) {
			unknown = append(unknown, at)
			continue
		}
		results[at].Claimed, results[at].Err = b.claimed(ctx, claims[at], reply, err)
	}
	return unknown
}

package goredis

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

// ClaimMany implements [backends.ManyClaimer]. Up to 500 claims take one round trip. On a Cluster
// they take one round trip per node, all at the same time. If claims fail, one of them is repeated
// by itself. If that helps, or if a server does not know the script, the others are repeated, too.
// They are not repeated if the user may not run a command (NOPERM).
func (b *Backend) ClaimMany(ctx context.Context, claims []backends.Claim) []backends.ClaimResult {
	results := make([]backends.ClaimResult, len(claims))
	todo := make([]int, len(claims))
	for i := range claims {
		todo[i] = i
	}
	for len(todo) > 0 {
		now := todo[:min(500, len(todo))]
		todo = todo[len(now):]
		b.claimPipeline(ctx, claims, now, results)
		again := slices.DeleteFunc(now, func(at int) bool { return results[at].Err == nil })
		if len(again) == 0 {
			continue
		}
		first := &results[again[0]]
		first.Claimed, first.Err = b.Claim(ctx, claims[again[0]])
		again = slices.DeleteFunc(again[1:], func(at int) bool {
			return redis.HasErrorPrefix(first.Err, "NOPERM") ||
				first.Err != nil && !unknownScript(results[at].Err)
		})
		todo = slices.Concat(again, todo)
	}
	return results
}

// claimPipeline makes the claims at these places in one pipeline, and stores their results at the
// same places.
func (b *Backend) claimPipeline(ctx context.Context, claims []backends.Claim, places []int,
	results []backends.ClaimResult) {
	cmds := make([]redis.Cmder, len(places))
	for i, at := range places {
		keys, terms := b.claimWords(claims[at])
		cmds[i] = unrepeated{command(ctx, b.scripts.claim.hashed, keys, []any{terms})}
	}
	_ = b.apart(ctx, cmds...) // each command has its error
	for i, at := range places {
		reply, err := cmds[i].(unrepeated).Result()
		results[at].Claimed, results[at].Err = b.claimed(ctx, claims[at], reply, err)
	}
}

// unrepeated is a command whose pipeline go-redis does not repeat. Go-redis still follows a
// redirection of a Cluster. In version 9.23 a repeated pipeline may have a redirected command
// twice, and then two goroutines write this command.
type unrepeated struct{ *redis.Cmd }

// NoRetry implements [redis.Cmder].
func (unrepeated) NoRetry() bool { return true }

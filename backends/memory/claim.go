package memory

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// claim remembers what a Claim took, so that a repeat gets the same.
type claim struct {
	id     string
	taken  []taken
	expiry slot[expirer] // at the latest deadline that it set
}

type taken struct {
	entry   *entry
	attempt int
}

func (c *claim) expire(s *shard) {
	if s.claims[c.id] == c { // and not a later claim that took the id once this one was over
		delete(s.claims, c.id)
	}
}

// results returns, store by store, what is still running at the attempt that the claim gave it.
func (c *claim) results(from []backends.From, now time.Time) []backends.Claimed {
	results := make([]backends.Claimed, len(from))
	for _, t := range c.taken {
		if t.entry.rec.Attempt != t.attempt || t.entry.rec.At(now).Status != backends.StatusRunning {
			continue
		}
		for i := range from {
			if from[i].Store == t.entry.key.store {
				results[i].Records = append(results[i].Records, t.entry.view(now))
			}
		}
	}
	return results
}

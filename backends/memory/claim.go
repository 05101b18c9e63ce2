package memory

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// claim is the memo of a Claim: a repeat of the Claim gets the same requests.
type claim struct {
	id     string
	taken  []taken
	expiry slot[expirer] // at the latest deadline that the Claim set
}

type taken struct {
	entry   *entry
	attempt int
}

func (c *claim) expire(s *shard) {
	if s.claims[c.id] == c { // otherwise a later claim has the same id
		delete(s.claims, c.id)
	}
}

// results returns the requests that still run at the attempt of the claim, store by store.
func (c *claim) results(from []backends.From, now time.Time) []backends.Claimed {
	results := make([]backends.Claimed, len(from))
	for _, t := range c.taken {
		rec := t.entry.view(now)
		runs := rec.Attempt == t.attempt && rec.Status == backends.StatusRunning
		for i := range from {
			if runs && from[i].Store == t.entry.key.store {
				results[i].Records = append(results[i].Records, rec)
			}
		}
	}
	return results
}

package memory

import (
	"time"

	"github.com/pendingq/pendingq/backends"
)

// memo is what a Claim has taken: a repeat of the Claim gets the same requests.
type memo struct {
	id     string
	taken  []taken
	expiry slot[expirer] // at the latest deadline that the Claim set
}

type taken struct {
	entry   *entry
	attempt int
}

func (m *memo) expire(s *shard) {
	if s.memos[m.id] == m { // otherwise a later Claim has the same id
		delete(s.memos, m.id)
	}
}

// results returns the requests that still run at the attempt of the Claim, store by store.
func (m *memo) results(from []backends.From, now time.Time) []backends.Claimed {
	results := make([]backends.Claimed, len(from))
	for _, t := range m.taken {
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

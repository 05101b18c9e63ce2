package skills

import (
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// Ping asks a runtime for a sign of life and holds its answer.
type Ping struct {
	Output     string `json:"output,omitempty"`
	DurationMS int64  `json:"duration_ms,omitempty"` // how long the runtime took, in milliseconds
}

// PingPolicy is the policy of the store of pings of a runtime.
func PingPolicy() pending.Policy {
	return pending.Policy{
		Name: "ping", PendingTimeout: time.Minute, RunningTimeout: time.Minute,
		Retention: 2 * time.Minute, MaxPending: 100,
	}
}

// NewPingStore makes the store of pings of a runtime.
func NewPingStore(b backends.Backend) (*pending.PendingStore[Ping], error) {
	return newStore[Ping](b, PingPolicy())
}

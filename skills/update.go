package skills

import (
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// Update asks a runtime to update itself and holds the output.
type Update struct {
	TargetVersion string `json:"target_version"`
	Output        string `json:"output,omitempty"`

	// InitiatorID is the user who asked for the update. It is stored and never sent.
	InitiatorID string `json:"-"`
}

// UpdatePolicy is the policy of the store of updates of a runtime, one at a time.
func UpdatePolicy() pending.Policy {
	return pending.Policy{
		Name: "update", PendingTimeout: 2 * time.Minute, RunningTimeout: 150 * time.Second,
		Retention: 5 * time.Minute, Exclusive: true,
	}
}

// NewUpdateStore makes the store of updates of a runtime, one at a time.
func NewUpdateStore(b backends.Backend) (*pending.PendingStore[Update], error) {
	return newStore[Update](b, UpdatePolicy())
}

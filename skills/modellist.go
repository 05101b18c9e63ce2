package skills

import (
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// ModelList asks a runtime which models it can use and holds its answer.
type ModelList struct {
	Models    []Model `json:"models,omitempty"`
	Supported bool    `json:"supported"` // false: the runtime cannot list models

	// Cached means that the server answered from the runtime's catalogue, as of CachedAt.
	Cached   bool       `json:"cached,omitempty"`
	CachedAt *time.Time `json:"cached_at,omitempty"`

	// Fallback means that the runtime could not list its own models, and listed others instead.
	// Such a list does not change the catalogue.
	Fallback bool `json:"-"`
}

// NewModelList returns the payload of a new request. Its Supported is true until the runtime denies
// it.
func NewModelList() ModelList { return ModelList{Supported: true} }

// Model describes one model that a runtime can use.
type Model struct {
	ID           string        `json:"id"`
	Label        string        `json:"label"`
	Provider     string        `json:"provider,omitempty"`
	Default      bool          `json:"default,omitempty"`
	Thinking     *Thinking     `json:"thinking,omitempty"`
	ServiceTiers []ServiceTier `json:"service_tiers,omitempty"`
}

// Thinking lists the levels of thinking that a Model offers.
type Thinking struct {
	SupportedLevels []ThinkingLevel `json:"supported_levels"`
	DefaultLevel    string          `json:"default_level,omitempty"` // the Value of one of them
}

// ThinkingLevel is one choice of Thinking.
type ThinkingLevel struct {
	Value       string `json:"value"`
	Label       string `json:"label"`
	Description string `json:"description,omitempty"`
}

// ServiceTier is one class of service that a Model can be asked for.
type ServiceTier struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// ModelListPolicy is the policy of the store of lists of a runtime's models.
func ModelListPolicy() pending.Policy {
	return pending.Policy{
		Name: "model_list", PendingTimeout: 30 * time.Second, RunningTimeout: time.Minute,
		Retention: 2 * time.Minute, MaxPending: 100,
	}
}

// NewModelListStore makes the store of lists of a runtime's models.
func NewModelListStore(b backends.Backend) (*pending.PendingStore[ModelList], error) {
	return newStore[ModelList](b, ModelListPolicy())
}

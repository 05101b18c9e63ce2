package skills

import (
	"encoding/json"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// Import asks a runtime for one of its skills and holds what became of it: Skill once it is saved,
// or Conflict.
type Import struct {
	SkillKey         string    `json:"skill_key"`                   // LocalSkill.Key
	Name             string    `json:"name,omitempty"`              // instead of the skill's own
	Description      string    `json:"description,omitempty"`       // instead of the skill's own
	Action           string    `json:"action,omitempty"`            // "" creates; ActionOverwrite
	TargetSkillID    string    `json:"target_skill_id,omitempty"`   // which to overwrite
	SupportsConflict bool      `json:"supports_conflict,omitempty"` // the client understands OutcomeConflict
	Skill            *Skill    `json:"skill,omitempty"`
	Conflict         *Conflict `json:"conflict,omitempty"`
	Omissions                  // of the runtime's Bundle

	// CreatorID is the user under whose name the skill is saved. It is stored and never sent.
	CreatorID string `json:"-"`
}

// ActionOverwrite is the Import.Action that replaces TargetSkillID instead of creating a skill.
const ActionOverwrite = "overwrite"

// OutcomeConflict is how an import ends whose skill's name is taken, for a client that
// SupportsConflict.
const OutcomeConflict pending.Status = "conflict"

// Skill is an imported skill as the server keeps it.
type Skill struct {
	ID          string          `json:"id"`
	WorkspaceID string          `json:"workspace_id"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Content     string          `json:"content"`
	Config      json.RawMessage `json:"config"` // any JSON; nil is sent as null
	Files       []SkillFile     `json:"files"`
	CreatedBy   string          `json:"created_by,omitempty"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
}

// SkillFile is a supporting file of a Skill.
type SkillFile struct {
	ID        string    `json:"id"`
	SkillID   string    `json:"skill_id"`
	Path      string    `json:"path"`
	Content   string    `json:"content"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Conflict says which skill already has the name of the one to import.
type Conflict struct {
	ExistingSkillID   string `json:"existing_skill_id"`
	ExistingCreatedBy string `json:"existing_created_by,omitempty"`
	CanOverwrite      bool   `json:"can_overwrite"` // the same creator may repeat with ActionOverwrite
}

// ImportPolicy is the policy of the store of imports of a runtime's skills.
func ImportPolicy() pending.Policy {
	return pending.Policy{
		Name: "local_skill:import", PendingTimeout: 3 * time.Minute, RunningTimeout: time.Minute,
		Retention: 5 * time.Minute, MaxPending: 1000, MaxPayload: 64 << 20,
		Outcomes: []pending.Status{OutcomeConflict},
	}
}

// NewImportStore makes the store of imports of a runtime's skills.
func NewImportStore(b backends.Backend) (*pending.PendingStore[Import], error) {
	return newStore[Import](b, ImportPolicy())
}

package skills

import (
	"encoding/json"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// Import asks a runtime for one of its skills and holds the result: Skill once it is saved, or
// Conflict.
type Import struct {
	SkillKey      string `json:"skill_key"`                 // LocalSkill.Key
	Name          string `json:"name,omitempty"`            // replaces the skill's own
	Description   string `json:"description,omitempty"`     // replaces the skill's own
	Action        string `json:"action,omitempty"`          // ActionOverwrite; "" creates a skill
	TargetSkillID string `json:"target_skill_id,omitempty"` // the skill to overwrite

	// SupportsConflict says that the client understands OutcomeConflict.
	SupportsConflict bool `json:"supports_conflict,omitempty"`

	Skill     *Skill    `json:"skill,omitempty"`
	Conflict  *Conflict `json:"conflict,omitempty"`
	Omissions           // of the runtime's Bundle

	// CreatorID is the user under whose name the skill is saved. It is stored and never sent.
	CreatorID string `json:"-"`
}

// ActionOverwrite is the Import.Action that replaces TargetSkillID instead of creating a skill.
const ActionOverwrite = "overwrite"

// OutcomeConflict ends an import if another skill has the name of the imported one and the client
// has set SupportsConflict.
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

// Conflict names the existing skill that has the name of the skill to import.
type Conflict struct {
	ExistingSkillID   string `json:"existing_skill_id"`
	ExistingCreatedBy string `json:"existing_created_by,omitempty"`

	// CanOverwrite says that the requester created the existing skill too, and may repeat the
	// import with ActionOverwrite.
	CanOverwrite bool `json:"can_overwrite"`
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

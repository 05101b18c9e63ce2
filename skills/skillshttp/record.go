package skillshttp

import (
	"cmp"
	"fmt"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// record is the JSON of a request for clients: one flat object with the fields of the head and of
// the payload.
type record struct {
	ID        string         `json:"id"`
	RuntimeID string         `json:"runtime_id"`
	Status    pending.Status `json:"status"`
	Error     string         `json:"error,omitempty"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`

	payload any
}

func newRecord[T any](r *pending.Request[T], p pending.Policy) record {
	return record{ID: r.ID, RuntimeID: r.Mailbox, Status: r.Status, Error: reason(r, p),
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, payload: shown(r.Payload)}
}

// reason returns the error of a request. The error of a timeout has the text that clients expect.
func reason[T any](r *pending.Request[T], p pending.Policy) string {
	switch {
	case r.Status != pending.StatusTimeout || !r.UpdatedAt.Equal(r.Deadline):
		return r.Error // no timeout, or one that the requester caused
	case r.StartedAt.IsZero():
		return fmt.Sprintf("daemon did not respond within %v seconds", p.PendingTimeout.Seconds())
	}
	return fmt.Sprintf("daemon did not finish within %v seconds", p.RunningTimeout.Seconds())
}

// shown returns the payload that clients read.
func shown(payload any) any {
	i, ok := payload.(skills.Import)
	if !ok || i.Skill == nil {
		return payload
	}
	s := shownSkill{Skill: i.Skill, Files: []skills.SkillFile{}}
	if i.Skill.CreatedBy != "" {
		s.CreatedBy = &i.Skill.CreatedBy
	}
	for _, f := range i.Skill.Files {
		f.SkillID = cmp.Or(f.SkillID, i.Skill.ID)
		if f.CreatedAt.IsZero() {
			f.CreatedAt, f.UpdatedAt = i.Skill.UpdatedAt, i.Skill.UpdatedAt
		}
		s.Files = append(s.Files, f)
	}
	return shownImport{i, s}
}

// shownImport is an import with the skill that clients read.
type shownImport struct {
	skills.Import
	Skill shownSkill `json:"skill"`
}

// shownSkill is a skill whose JSON always has a list of files, perhaps empty, and a creator,
// perhaps null. A stored skill does not tell an empty list from none.
type shownSkill struct {
	*skills.Skill
	CreatedBy *string            `json:"created_by"`
	Files     []skills.SkillFile `json:"files"`
}

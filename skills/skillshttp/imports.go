package skillshttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

// imported saves the skill that a runtime reports, and then completes the import. Saving is idempotent, so when it
// is cut short between the two, or its outcome is unknown, the daemon's next report meets its own skill.
func (h *Handler) imported(c *call, r *pending.Request[skills.Import], report ImportReport) error {
	ctx, cancel := c.detached()
	defer cancel()
	imports := h.Stores.Imports
	if report.Status != string(pending.StatusCompleted) {
		return end(c, imports, r, report.Report)
	}
	if report.Skill == nil {
		return imports.Fail(ctx, r, "daemon returned an empty skill bundle")
	}
	if err := folders.Check(*report.Skill); err != nil {
		return imports.Fail(ctx, r, fmt.Sprintf("the skill cannot be imported: %v", err))
	}
	saved, err := h.Library.Save(ctx, newSave(r, *report.Skill))
	var taken *NameTakenError
	switch {
	case errors.As(err, &taken):
		return h.conflict(ctx, r, taken)
	case errors.Is(err, ErrRefused):
		return imports.Fail(ctx, r, err.Error())
	case err != nil:
		return fmt.Errorf("save the skill: %w", err)
	}
	r.Payload.Skill = &saved
	return h.completeImport(ctx, r)
}

func newSave(r *pending.Request[skills.Import], b skills.Bundle) Save {
	return Save{RequestID: r.ID, RuntimeID: r.Mailbox, CreatorID: r.Payload.CreatorID,
		Name: cmp.Or(r.Payload.Name, b.Name), Description: cmp.Or(r.Payload.Description, b.Description), Bundle: b,
		Overwrite: r.Payload.TargetSkillID}
}

func (h *Handler) conflict(ctx context.Context, r *pending.Request[skills.Import], taken *NameTakenError) error {
	if !r.Payload.SupportsConflict {
		return h.Stores.Imports.Fail(ctx, r, taken.Error())
	}
	r.Payload.Conflict = &taken.Conflict
	return h.Stores.Imports.Finish(ctx, r, skills.OutcomeConflict)
}

// completeImport completes an import whose skill is saved. If that is definitely refused, a skill that was saved for
// nothing is taken back.
func (h *Handler) completeImport(ctx context.Context, r *pending.Request[skills.Import]) error {
	err := h.Stores.Imports.Complete(ctx, r)
	definite := late(err) || errors.Is(err, pending.ErrNotFound) || errors.Is(err, pending.ErrTooLarge)
	if !definite || r.Payload.Action == skills.ActionOverwrite {
		return err
	}
	shown, getErr := h.Stores.Imports.Get(ctx, r.ID)
	switch {
	case getErr == nil && shown.Payload.Skill != nil && shown.Payload.Skill.ID == r.Payload.Skill.ID:
		return err
	case getErr != nil && !errors.Is(getErr, pending.ErrNotFound):
		return getErr // whether it shows the skill is unknown, so the daemon is to come again
	}
	if takeErr := h.Library.TakeBack(ctx, r.ID); takeErr != nil {
		h.Logger.Error("take back a skill whose import was refused", "runtime", r.Mailbox, "request", r.ID, "error", takeErr)
	}
	return err
}

// importedTooLate takes back a skill that an earlier report of this request left behind: its node died, or did not learn
// what became of its completion, and then the request ended without the skill.
func (h *Handler) importedTooLate(c *call, r *pending.Request[skills.Import]) error {
	if r.Payload.Skill != nil || r.Payload.Action == skills.ActionOverwrite {
		return nil
	}
	ctx, cancel := c.detached()
	defer cancel()
	if err := h.Library.TakeBack(ctx, r.ID); err != nil {
		return fmt.Errorf("take back the skill: %w", err)
	}
	return nil
}

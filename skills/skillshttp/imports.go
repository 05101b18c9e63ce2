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

// imported saves the skill that a runtime reports, and then completes the import. Saving is
// idempotent. If the node dies between the two, or the outcome is unknown, the daemon's next report
// meets its own skill.
func (h *Handler) imported(
	c *call, claim *pending.Claim[skills.Import], report ImportReport) error {
	ctx, cancel := c.detached()
	defer cancel()
	imports := h.config.Stores.Imports
	if report.Status != string(pending.StatusCompleted) {
		return end(c, imports, claim, report.Report)
	}
	if report.Skill == nil {
		return imports.Fail(ctx, claim, "daemon returned an empty skill bundle")
	}
	if err := folders.Check(*report.Skill); err != nil {
		return imports.Fail(ctx, claim, fmt.Sprintf("the skill cannot be imported: %v", err))
	}
	saved, err := h.config.Library.Save(ctx, newSave(&claim.Request, *report.Skill))
	var taken *NameTakenError
	switch {
	case errors.As(err, &taken):
		return h.conflict(ctx, claim, taken)
	case errors.Is(err, ErrRefused):
		return imports.Fail(ctx, claim, err.Error())
	case err != nil:
		return fmt.Errorf("save the skill: %w", err)
	}
	claim.Payload.Skill = &saved
	return h.completeImport(ctx, claim)
}

func newSave(r *pending.Request[skills.Import], b skills.Bundle) Save {
	return Save{RequestID: r.ID, RuntimeID: r.Mailbox, CreatorID: r.Payload.CreatorID,
		Name:        cmp.Or(r.Payload.Name, b.Name),
		Description: cmp.Or(r.Payload.Description, b.Description),
		Bundle:      b, Overwrite: r.Payload.TargetSkillID}
}

func (h *Handler) conflict(
	ctx context.Context, claim *pending.Claim[skills.Import], taken *NameTakenError) error {
	if !claim.Payload.SupportsConflict {
		return h.config.Stores.Imports.Fail(ctx, claim, taken.Error())
	}
	claim.Payload.Conflict = &taken.Conflict
	return h.config.Stores.Imports.Finish(ctx, claim, skills.OutcomeConflict)
}

// completeImport completes an import whose skill is saved. If that is definitely refused, it takes
// back a skill that was saved for nothing.
func (h *Handler) completeImport(ctx context.Context, claim *pending.Claim[skills.Import]) error {
	err := h.config.Stores.Imports.Complete(ctx, claim)
	definite := late(err) || errors.Is(err, pending.ErrNotFound) ||
		errors.Is(err, pending.ErrTooLarge)
	if !definite || claim.Payload.Action == skills.ActionOverwrite {
		return err
	}
	shown, getErr := h.config.Stores.Imports.Get(ctx, claim.ID)
	switch {
	case getErr == nil && shown.Payload.Skill != nil &&
		shown.Payload.Skill.ID == claim.Payload.Skill.ID:
		return err
	case getErr != nil && !errors.Is(getErr, pending.ErrNotFound):
		return getErr // the daemon has to retry: the request may show the skill
	}
	if takeErr := h.config.Library.TakeBack(ctx, claim.ID); takeErr != nil {
		h.config.Logger.Error("take back a skill whose import was refused",
			"runtime", claim.Mailbox, "request", claim.ID, "error", takeErr)
	}
	return err
}

// importedTooLate takes back a skill that an earlier report of this request left behind. The node
// of that report died or did not learn the outcome of its Complete. Then the request ended without
// the skill.
func (h *Handler) importedTooLate(c *call, r *pending.Request[skills.Import]) error {
	if r.Payload.Skill != nil || r.Payload.Action == skills.ActionOverwrite {
		return nil
	}
	ctx, cancel := c.detached()
	defer cancel()
	if err := h.config.Library.TakeBack(ctx, r.ID); err != nil {
		return fmt.Errorf("take back the skill: %w", err)
	}
	return nil
}

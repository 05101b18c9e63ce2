package skillshttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
	"github.com/pendingq/pendingq/skills/wire"
)

// imported saves the skill that a runtime reports, and then completes the import. Saving is
// idempotent. If the node dies between the two steps, or the outcome of a step is unknown, the
// daemon's next report finds its own skill.
func (h *Handler) imported(ctx context.Context, claim *pending.Claim[skills.Import],
	report wire.ImportReport) error {
	imports := h.config.Stores.Imports
	if report.Status != string(pending.StatusCompleted) {
		return end(ctx, imports, claim, report.Report)
	}
	if report.Skill == nil {
		return imports.Fail(ctx, claim, "daemon returned an empty skill bundle")
	}
	bundle, over := h.tidied(claim, *report.Skill)
	if over != nil {
		return cmp.Or(imports.Fail(ctx, claim, over.Error()), over)
	}
	if err := folders.CheckSize(bundle); err != nil {
		return imports.Fail(ctx, claim, fmt.Sprintf("the skill cannot be imported: %v", err))
	}
	saved, err := h.config.Library.Save(ctx, newSave(&claim.Request, bundle))
	var taken *NameTakenError
	switch {
	case errors.As(err, &taken):
		return h.conflict(ctx, claim, taken)
	case errors.Is(err, ErrRefused):
		return imports.Fail(ctx, claim, err.Error())
	case err != nil:
		return fmt.Errorf("save the skill: %w", err)
	}
	claim.Payload.Skill, claim.Payload.Omissions = &saved, bundle.Omissions
	return h.completeImport(ctx, claim)
}

// tidied returns a bundle that the library can save. A skill without a name gets the name of its
// folder. The log and the bundle say which files are dropped.
func (h *Handler) tidied(
	claim *pending.Claim[skills.Import], b skills.Bundle) (skills.Bundle, error) {
	b, dropped := folders.Tidy(b)
	b.Name = cmp.Or(b.Name, path.Base(claim.Payload.SkillKey))
	b.LeftOut = b.LeftOut[:min(len(b.LeftOut), skills.MaxOmissions)]
	h.logDropped(claim, dropped)
	for _, w := range dropped {
		b.Omissions.Add(skills.Omission{Path: w.Path, Reason: w.Err.Error()})
	}
	for _, text := range []struct {
		what, text string
		limit      int
	}{
		{"name", b.Name, skills.MaxName}, {"description", b.Description, skills.MaxDescription},
		{"source_path", b.SourcePath, skills.MaxSourcePath},
		{"provider", b.Provider, skills.MaxProvider},
	} {
		if len(text.text) > text.limit {
			return b, tooLarge("the skill's %s has over %d bytes", text.what, text.limit)
		}
	}
	return b, nil
}

// logDropped names the first dropped files of a skill and counts the others.
func (h *Handler) logDropped(claim *pending.Claim[skills.Import], dropped []folders.Warning) {
	log := h.config.Logger.With("runtime", claim.Mailbox, "request", claim.ID)
	for _, w := range dropped[:min(len(dropped), skills.MaxOmissions)] {
		log.Warn("a file of an imported skill is dropped", "path", w.Path, "error", w.Err)
	}
	if more := len(dropped) - skills.MaxOmissions; more > 0 {
		log.Warn("more files of an imported skill are dropped", "count", more)
	}
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

// completeImport completes an import whose skill is saved. If the completion is refused, it takes
// the skill back, unless an earlier report has completed the request with this skill. It never
// takes back an overwrite.
func (h *Handler) completeImport(ctx context.Context, claim *pending.Claim[skills.Import]) error {
	err := h.config.Stores.Imports.Complete(ctx, claim)
	definite := late(err) || errors.Is(err, pending.ErrNotFound) ||
		errors.Is(err, pending.ErrTooLarge) || errors.Is(err, pending.ErrInvalid)
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
// of that report died, or did not learn the outcome of its Complete. Later the request ended, and
// its record does not show the skill.
func (h *Handler) importedTooLate(ctx context.Context, r *pending.Request[skills.Import]) error {
	if r.Payload.Skill != nil || r.Payload.Action == skills.ActionOverwrite {
		return nil
	}
	if err := h.config.Library.TakeBack(ctx, r.ID); err != nil {
		return fmt.Errorf("take back the skill: %w", err)
	}
	return nil
}

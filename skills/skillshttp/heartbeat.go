package skillshttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// Heartbeat is what a daemon sends.
type Heartbeat struct {
	RuntimeID string `json:"runtime_id"`

	// SupportsBatchImport says that the daemon reads all imports of an answer, not just the singular one.
	SupportsBatchImport bool `json:"supports_batch_import,omitempty"`

	// ClaimID makes the heartbeat repeatable: the same again gets the same answer. 1 to 512 bytes.
	ClaimID string `json:"claim_id,omitempty"`
}

// Assignments is the answer to a [Heartbeat]: what the runtime is to do, and has claimed with it.
type Assignments struct {
	Status    string             `json:"status"` // "ok"
	List      *Assignment        `json:"pending_local_skills,omitempty"`
	Import    *ImportAssignment  `json:"pending_local_skill_import,omitempty"` // the first of Imports, for old daemons
	Imports   []ImportAssignment `json:"pending_local_skill_imports,omitempty"`
	Ping      *Assignment        `json:"pending_ping,omitempty"`
	Update    *UpdateAssignment  `json:"pending_update,omitempty"`
	ModelList *Assignment        `json:"pending_model_list,omitempty"`
}

// Empty reports whether there is nothing to do.
func (a *Assignments) Empty() bool {
	return a.List == nil && a.Import == nil && len(a.Imports) == 0 && a.Ping == nil && a.Update == nil && a.ModelList == nil
}

// Assignment is a claimed request that needs no more than its id.
type Assignment struct {
	ID string `json:"id"`
}

// ImportAssignment is a claimed import.
type ImportAssignment struct {
	ID       string `json:"id"`
	SkillKey string `json:"skill_key"`
}

// UpdateAssignment is a claimed update.
type UpdateAssignment struct {
	ID            string `json:"id"`
	TargetVersion string `json:"target_version"`
}

// authoriseDaemon lets only the runtime's own daemon through.
func (c *call) authoriseDaemon() error {
	allowed, err := c.config.Access.Daemon(c.r, c.runtimeID)
	switch {
	case errors.Is(err, ErrRuntimeGone):
		return refuse(http.StatusNotFound, "%s", ErrRuntimeGone.Error())
	case err == nil && !allowed:
		return errNotFound
	}
	return err
}

func (h *Handler) heartbeat(c *call) (any, error) {
	var beat Heartbeat
	if err := c.decode(&beat, maxSmallBody); err != nil {
		return nil, err
	}
	c.runtimeID = beat.RuntimeID
	if err := c.authoriseDaemon(); err != nil {
		return nil, err
	}
	if len(beat.ClaimID) > maxClaimID {
		return nil, refuse(http.StatusBadRequest, "claim_id has over %d bytes", maxClaimID)
	}
	if err := h.config.Presence.Seen(c.r.Context(), c.runtimeID); err != nil {
		h.config.Logger.Warn("note that a runtime is online", "runtime", c.runtimeID, "error", err)
	}
	work, err := h.claim(c, beat)
	if work == nil {
		return nil, err
	}
	if err != nil {
		h.config.Logger.Warn("a heartbeat is answered in part", "runtime", c.runtimeID, "error", err)
	}
	c.quiet = work.Empty()
	return assignments(work), nil
}

const maxClaimID = 512

// claim claims what there is for a runtime, at once or until its wait is over. Without work the
// error is about the whole claim.
func (h *Handler) claim(c *call, beat Heartbeat) (*skills.Work, error) {
	var opts []pending.PopOption
	if !beat.SupportsBatchImport {
		opts = append(opts, pending.WithLimit(h.config.Stores.Imports, 1))
	}
	if beat.ClaimID != "" {
		opts = append(opts, pending.WithClaimID(beat.ClaimID))
	}
	ctx, wait, done, err := c.waiting()
	if err != nil {
		return nil, err
	}
	defer done()
	if wait == 0 {
		return h.config.Stores.Heartbeat(c.r.Context(), c.runtimeID, opts...)
	}
	work, err := h.config.Stores.AwaitWork(ctx, c.runtimeID, opts...)
	if work == nil && waited(ctx, c.r.Context()) {
		return &skills.Work{}, nil
	}
	return work, err
}

// waited reports whether a wait is over and its request is not.
func waited(wait, request context.Context) bool { return wait.Err() != nil && request.Err() == nil }

func assignments(work *skills.Work) *Assignments {
	a := &Assignments{Status: "ok", List: assignment(work.List), Ping: assignment(work.Ping),
		ModelList: assignment(work.ModelList)}
	for _, claim := range work.Imports {
		a.Imports = append(a.Imports,
			ImportAssignment{ID: claim.ID, SkillKey: claim.Payload.SkillKey})
	}
	if len(a.Imports) > 0 {
		a.Import = &a.Imports[0]
	}
	if work.Update != nil {
		a.Update = &UpdateAssignment{ID: work.Update.ID,
			TargetVersion: work.Update.Payload.TargetVersion}
	}
	return a
}

func assignment[T any](claim *pending.Claim[T]) *Assignment {
	if claim == nil {
		return nil
	}
	return &Assignment{ID: claim.ID}
}

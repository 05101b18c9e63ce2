package skillshttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// question is one kind of request, as front ends ask it.
type question[T any] struct {
	path   string
	store  *pending.PendingStore[T]
	online bool // the runtime has to be online to be asked
	role   Role // what a requester has to be to ask

	// mayRead decides about a requester below that role who wants to read; nil: they may not.
	mayRead func(Requester, T) bool

	// ask makes the payload from a call's body.
	ask func(*call, Requester) (T, error)
}

func (h *Handler) routes() {
	front(h, question[skills.List]{path: "/local-skills", store: h.config.Stores.Lists, online: true, role: RoleMember,
		ask: func(*call, Requester) (skills.List, error) { return skills.NewList(), nil }})
	front(h, question[skills.Import]{path: "/local-skills/import", store: h.config.Stores.Imports, online: true, role: RoleOwner,
		ask: askImport})
	front(h, question[skills.Ping]{path: "/ping", store: h.config.Stores.Pings, role: RoleMember,
		ask: func(*call, Requester) (skills.Ping, error) { return skills.Ping{}, nil }})
	front(h, question[skills.Update]{path: "/update", store: h.config.Stores.Updates, role: RoleAdmin, ask: askUpdate,
		mayRead: func(who Requester, u skills.Update) bool { return who.UserID != "" && who.UserID == u.InitiatorID }})
	front(h, question[skills.ModelList]{path: "/models", store: h.config.Stores.ModelLists, online: true, role: RoleMember,
		ask: func(*call, Requester) (skills.ModelList, error) { return skills.NewModelList(), nil }})
	h.daemonRoutes()
	h.handle("/", func(*call) (any, error) { return nil, errNotFound })
}

func front[T any](h *Handler, q question[T]) {
	const root = "/api/runtimes/{runtimeId}"
	h.handle("POST "+root+q.path, q.create)
	h.handle("GET "+root+q.path+"/{requestId}", q.read)
}

// requester authorises a front end's call, down to what its sender may know of the runtime.
func (c *call) requester() (Requester, error) {
	who, err := c.config.Access.Requester(c.r, c.runtimeID)
	if err == nil && who.Role <= RoleNone {
		err = errNotFound
	}
	return who, err
}

var errForbidden = refuse(http.StatusForbidden, "not allowed for this runtime")

func (q question[T]) create(c *call) (any, error) {
	who, err := c.requester()
	if err != nil {
		return nil, err
	}
	if who.Role < q.role {
		return nil, errForbidden
	}
	payload, err := q.ask(c, who)
	if err != nil {
		return nil, err
	}
	if q.online {
		if err := c.checkOnline(); err != nil {
			return nil, err
		}
	}
	r, err := q.store.Create(c.r.Context(), c.runtimeID, payload)
	if err != nil {
		return nil, err
	}
	c.requestID = r.ID
	return newRecord(r), nil
}

func (c *call) checkOnline() error {
	online, err := c.config.Presence.Online(c.r.Context(), c.runtimeID)
	if err == nil && !online {
		err = refuse(http.StatusServiceUnavailable, "the runtime is offline")
	}
	return err
}

func (q question[T]) read(c *call) (any, error) {
	who, err := c.requester()
	if err != nil {
		return nil, err
	}
	if who.Role < q.role {
		if err := q.checkReader(c, who); err != nil {
			return nil, err
		}
	}
	ctx, wait, done, err := c.waiting()
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := q.await(ctx, c, wait > 0)
	if err != nil {
		return nil, err
	}
	return newRecord(r), nil
}

// checkReader lets through who may read a request though they may not make one. Others learn no more than that:
// not even whether there is such a request.
func (q question[T]) checkReader(c *call, who Requester) error {
	if q.mayRead == nil {
		return errForbidden
	}
	r, err := q.get(c.r.Context(), c)
	if errors.Is(err, pending.ErrNotFound) || err == nil && !q.mayRead(who, r.Payload) {
		return errForbidden
	}
	return err
}

// get reads the request of the call's path, if it is one of the call's runtime.
func (q question[T]) get(ctx context.Context, c *call) (*pending.Request[T], error) {
	return found(q.store.Get(ctx, c.requestID, pending.InMailbox(c.runtimeID)))
}

// await reads it once it has ended, or the wait is over.
func (q question[T]) await(ctx context.Context, c *call, wait bool) (*pending.Request[T], error) {
	if !wait {
		return q.get(ctx, c)
	}
	r, err := found(q.store.Await(ctx, c.requestID, pending.InMailbox(c.runtimeID)))
	switch {
	case err == nil || ctx.Err() == nil:
		return r, err
	case r != nil:
		return r, nil
	}
	return q.get(c.r.Context(), c)
}

// found turns the error about an id that no Create can have made into [pending.ErrNotFound].
func found[R any](r R, err error) (R, error) {
	if errors.Is(err, pending.ErrInvalid) {
		err = fmt.Errorf("%w: %w", pending.ErrNotFound, err)
	}
	return r, err
}

func askUpdate(c *call, who Requester) (skills.Update, error) {
	var body struct {
		TargetVersion string `json:"target_version"`
	}
	err := c.decode(&body, maxSmallBody)
	version := strings.TrimSpace(body.TargetVersion)
	if err == nil && version == "" {
		err = refuse(http.StatusBadRequest, "target_version is required")
	}
	return skills.Update{TargetVersion: version, InitiatorID: who.UserID}, err
}

func askImport(c *call, who Requester) (skills.Import, error) {
	var body struct {
		SkillKey         string `json:"skill_key"`
		Name             string `json:"name"`
		Description      string `json:"description"`
		Action           string `json:"action"`
		TargetSkillID    string `json:"target_skill_id"`
		SupportsConflict bool   `json:"supports_conflict"`
	}
	if err := c.decode(&body, maxSmallBody); err != nil {
		return skills.Import{}, err
	}
	i := skills.Import{
		SkillKey: strings.TrimSpace(body.SkillKey), Name: strings.TrimSpace(body.Name),
		Description: strings.TrimSpace(body.Description), Action: body.Action, CreatorID: who.UserID,
		SupportsConflict: body.SupportsConflict || body.Action == skills.ActionOverwrite,
	}
	switch {
	case i.SkillKey == "":
		return i, refuse(http.StatusBadRequest, "skill_key is required")
	case i.Action == "":
		return i, nil
	case i.Action != skills.ActionOverwrite:
		return i, refuse(http.StatusBadRequest, `action is neither "" nor "overwrite"`)
	case len(body.TargetSkillID) != len(uuid.UUID{}.String()) || uuid.Validate(body.TargetSkillID) != nil:
		return i, refuse(http.StatusBadRequest, "target_skill_id is not a UUID, which overwrite needs")
	}
	i.TargetSkillID = body.TargetSkillID
	return i, nil
}

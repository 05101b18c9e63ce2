package skillshttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/quota"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/wire"
)

// question describes the routes of one kind of request for front ends.
type question[T any] struct {
	path   string
	store  *pending.PendingStore[T]
	policy pending.Policy
	online bool // refuses new requests while the runtime is offline
	role   Role // the lowest role that may create a request

	// mayRead reports whether a requester below that role may read a request. nil: never.
	mayRead func(Requester, T) bool

	// ask makes the payload from a call's body.
	ask func(*call, Requester) (T, error)

	// known returns an answer for which no request has to be created, or nil. It may be nil.
	known func(*call) any
}

func (h *Handler) routes() {
	s, p := h.config.Stores, h.config.Stores.Policies()
	front(h, question[skills.List]{path: "/local-skills", store: s.Lists, policy: p.Lists,
		online: true, role: RoleMember,
		ask: func(*call, Requester) (skills.List, error) { return skills.NewList(), nil }})
	front(h, question[skills.Import]{path: "/local-skills/import", store: s.Imports,
		policy: p.Imports, online: true, role: RoleOwner, ask: askImport})
	front(h, question[skills.Ping]{path: "/ping", store: s.Pings, policy: p.Pings, role: RoleMember,
		ask: func(*call, Requester) (skills.Ping, error) { return skills.Ping{}, nil }})
	front(h, question[skills.Update]{path: "/update", store: s.Updates, policy: p.Updates,
		role: RoleAdmin, ask: askUpdate, mayRead: func(who Requester, u skills.Update) bool {
			return who.UserID != "" && who.UserID == u.InitiatorID
		}})
	front(h, question[skills.ModelList]{path: "/models", store: s.ModelLists, policy: p.ModelLists,
		online: true, role: RoleMember, known: (*call).catalogued,
		ask: func(*call, Requester) (skills.ModelList, error) {
			return skills.NewModelList(), nil
		}})
	h.daemonRoutes()
	h.handle("/", func(*call) (any, error) { return nil, errNotFound })
}

func front[T any](h *Handler, q question[T]) {
	const root = "/api/runtimes/{runtimeId}"
	h.handle("POST "+root+q.path, q.create)
	h.handle("GET "+root+q.path+"/{requestId}", q.read)
}

// requester authorises a front end's call. It returns errNotFound if the sender may not see the
// runtime.
func (c *call) requester() (Requester, error) {
	ctx, cancel := c.callContext()
	defer cancel()
	who, err := c.config.Access.Requester(c.r.WithContext(ctx), c.runtimeID)
	if err == nil && who.Role <= RoleNone {
		err = errNotFound
	}
	c.caller = who.UserID
	return who, err
}

var errForbidden = refuse(
	http.StatusForbidden, wire.CodeForbidden, "not allowed for this runtime")

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
	ctx, cancel := c.callContext()
	defer cancel()
	if q.online {
		if err := c.checkOnline(ctx); err != nil {
			return nil, err
		}
	}
	if q.known != nil {
		if answer := q.known(c); answer != nil {
			return answer, nil
		}
	}
	r, err := q.store.Create(ctx, c.runtimeID, payload)
	if err != nil {
		return nil, err
	}
	c.requestID = r.ID
	return newRecord(r, q.policy), nil
}

func (c *call) checkOnline(ctx context.Context) error {
	online, err := c.config.Presence.Online(ctx, c.runtimeID)
	if err == nil && !online {
		err = refuse(http.StatusServiceUnavailable, wire.CodeOffline, "the runtime is offline")
	}
	return err
}

func (q question[T]) read(c *call) (any, error) {
	who, err := c.requester()
	if err != nil {
		return nil, err
	}
	wait, err := c.wait()
	if err != nil {
		return nil, err
	}
	allowed := func(u T) bool {
		return who.Role >= q.role || q.mayRead != nil && q.mayRead(who, u)
	}
	if wait == 0 || backends.CheckID(c.requestID) != nil {
		r, err := q.load(c, allowed)
		return r.body, err
	}
	if !c.hold(&c.waits, 1, 0, quota.Of("", int64(c.config.MaxWaits)),
		quota.Of(ofRuntime(c.runtimeID), int64(c.config.MaxRuntimeWaits)),
		quota.Of(ofCaller(who.UserID), int64(c.config.MaxCallerWaits)),
		quota.Of(ofBoth(c.runtimeID, who.UserID), int64(max(1, c.config.MaxRuntimeWaits/2)))) {
		return nil, refuse(http.StatusTooManyRequests, wire.CodeTooManyWaits,
			"too many requests are waiting here")
	}
	return q.await(c, c.parked(wait), allowed)
}

// loaded is a request that was read and encoded.
type loaded struct {
	body     encoded
	ended    bool
	deadline time.Time
}

// load reads the request of the call's path, which has to belong to the call's runtime. Only a few
// requests are read at a time, since a request can be large. A caller who may not read a request
// does not learn whether it exists.
func (q question[T]) load(c *call, allowed func(T) bool) (l loaded, err error) {
	ctx, cancel := c.callContext()
	defer cancel()
	const ofOne, ofAll = 2, 32
	shares := []quota.Share{quota.Of("", ofAll), quota.Of(ofCaller(c.caller), ofOne),
		quota.Of(ofRequest(c.requestID), 1)}
	if !c.reading.Enter(ctx, 1, shares) {
		return l, fmt.Errorf("read the request: %w", errSlow)
	}
	defer c.reading.Leave(1, shares)
	var none T
	if body := c.borrow(); body != nil && allowed(none) {
		return loaded{body: body, ended: true}, nil
	}
	r, err := found(q.store.Get(ctx, c.requestID, pending.InMailbox(c.runtimeID)))
	switch {
	case errors.Is(err, pending.ErrNotFound) && !allowed(none):
		return l, errForbidden
	case err != nil:
		return l, err
	case !allowed(r.Payload):
		return l, errForbidden
	}
	l.ended, l.deadline = r.Status.Ended(), r.Deadline
	l.body, err = encode(newRecord(r, q.policy))
	if err == nil && l.ended && len(l.body) > largeAnswer {
		err = c.share(l.body)
	}
	return l, err
}

// await loads a request once it has ended, or ctx ends.
func (q question[T]) await(
	c *call, ctx context.Context, allowed func(T) bool) (any, error) {
	w := c.watch(ctx, c.requestID, backends.Waker.WatchRequest)
	defer w.Stop()
	for pause := soon; ; pause = min(2*pause, time.Second) {
		r, err := q.load(c, allowed)
		if err != nil || r.ended || ctx.Err() != nil {
			return r.body, err
		}
		// Clocks differ, so the backend's clock may reach the deadline later.
		_ = w.Wait(ctx, max(time.Until(r.deadline), 0)+pause)
	}
}

// soon is a pause: short for a waiter, and long enough to cost the backend little.
const soon = 50 * time.Millisecond

// found turns the error about an invalid id, which no request can have, into [pending.ErrNotFound].
func found[R any](r R, err error) (R, error) {
	if errors.Is(err, pending.ErrInvalid) {
		err = fmt.Errorf("%w: %w", pending.ErrNotFound, err)
	}
	return r, err
}

func askUpdate(c *call, who Requester) (skills.Update, error) {
	var body wire.UpdateQuestion
	err := c.decodeSmall(&body)
	version := strings.TrimSpace(body.TargetVersion)
	if err == nil && version == "" {
		err = invalid("target_version is required")
	}
	return skills.Update{TargetVersion: version, InitiatorID: who.UserID},
		cmp.Or(err, atMost("target_version", version, skills.MaxVersion))
}

func askImport(c *call, who Requester) (skills.Import, error) {
	var body wire.ImportQuestion
	if err := c.decodeSmall(&body); err != nil {
		return skills.Import{}, err
	}
	target := strings.ToLower(strings.TrimSpace(body.TargetSkillID))
	i := skills.Import{
		SkillKey: strings.TrimSpace(body.SkillKey), Name: strings.TrimSpace(body.Name),
		Description: strings.TrimSpace(body.Description), Action: body.Action,
		CreatorID:        who.UserID,
		SupportsConflict: body.SupportsConflict || body.Action == skills.ActionOverwrite,
	}
	switch {
	case i.SkillKey == "":
		return i, invalid("skill_key is required")
	case strings.ContainsFunc(i.SkillKey, unicode.IsControl):
		return i, invalid("skill_key has a control character")
	case i.Action == skills.ActionOverwrite:
		i.TargetSkillID = target
		if len(target) != len(uuid.UUID{}.String()) || uuid.Validate(target) != nil {
			return i, invalid("target_skill_id is not a UUID, which overwrite needs")
		}
	case i.Action != "":
		return i, invalid(`action is neither "" nor "overwrite"`)
	}
	return i, cmp.Or(atMost("skill_key", i.SkillKey, skills.MaxKey),
		atMost("name", i.Name, skills.MaxName),
		atMost("description", i.Description, skills.MaxDescription))
}

// atMost refuses a text that has over limit bytes or a NUL.
func atMost(field, text string, limit int) error {
	switch {
	case len(text) > limit:
		return invalid("%s has over %d bytes", field, limit)
	case strings.ContainsRune(text, 0):
		return invalid("%s has a NUL", field)
	}
	return nil
}

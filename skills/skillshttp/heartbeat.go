package skillshttp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/quota"
	"github.com/pendingq/pendingq/internal/wake"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/wire"
)

// authoriseDaemon returns an error unless the caller is the runtime's own daemon.
func (c *call) authoriseDaemon(runtimeID string) error {
	ctx, cancel := c.callContext()
	defer cancel()
	allowed, err := c.config.Access.Daemon(c.r.WithContext(ctx), runtimeID)
	switch {
	case errors.Is(err, ErrRuntimeGone):
		return refuse(http.StatusNotFound, wire.CodeRuntimeGone, wire.RuntimeGone)
	case err == nil && !allowed:
		return errNotFound
	}
	return err
}

func (h *Handler) heartbeat(c *call) (any, error) {
	var beat wire.Heartbeat
	if err := c.decodeSmall(&beat); err != nil {
		return nil, err
	}
	c.runtimeID = beat.RuntimeID
	if err := c.authoriseDaemon(c.runtimeID); errors.Is(err, ErrUnauthenticated) {
		return nil, err
	} else if beat.RuntimeID == "" {
		return nil, invalid("runtime_id is required")
	} else if err != nil {
		return nil, err
	}
	if len(beat.ClaimID) > maxClaimID {
		return nil, invalid("claim_id has over %d bytes", maxClaimID)
	}
	wait, err := c.wait()
	if err != nil {
		return nil, err
	}
	ctx := c.r.Context()
	if wait > 0 && c.hold(&c.beats, 1, 0, c.ofDaemon(c.runtimeID)...) {
		ctx = c.parked(wait)
	} else {
		wait = 0
	}
	answer, failed := h.beat(ctx, beat, wait > 0)
	if failed {
		c.w.Header().Set(wire.ClaimFailed, "true")
	}
	c.quiet = answer.Empty()
	return answer, nil
}

const maxClaimID = 512

// ofDaemon returns the shares of a runtime's held heartbeats.
func (h *Handler) ofDaemon(runtimeID string) []quota.Share {
	return []quota.Share{quota.Of("", int64(h.config.MaxWaits)),
		quota.Of(ofRuntime(runtimeID), int64(h.config.MaxRuntimeWaits))}
}

// beat answers a heartbeat. If wait is set, it waits for work until ctx ends. Otherwise it claims
// once. If the claim fails or is slow, the answer has no work, and failed is true. Requests may
// still be pending, and the late claim may still take them.
func (h *Handler) beat(
	ctx context.Context, beat wire.Heartbeat, wait bool) (answer *wire.Assignments, failed bool) {
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		_, err := within(ctx, h.config.HeartbeatTime, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, h.config.Presence.Seen(ctx, beat.RuntimeID)
		})
		h.warn(err, "note that a runtime is online", beat.RuntimeID)
	}()
	work, err := h.awaitWork(ctx, beat, wait)
	<-seen
	if failed = work == nil; failed {
		h.warn(err, "a heartbeat is answered without work, since its claim failed", beat.RuntimeID)
		work = &skills.Work{}
	} else {
		h.warn(err, "a heartbeat is answered in part", beat.RuntimeID)
	}
	return Assign(h.config.Stores, work), failed
}

func (h *Handler) warn(err error, what, runtimeID string) {
	if err != nil {
		h.config.Logger.Warn(what, "runtime", runtimeID, "error", err)
	}
}

// awaitWork claims the pending requests of a runtime. If wait is set and there are none, it waits
// for them until ctx ends. If work is nil, the error is about the whole claim.
func (h *Handler) awaitWork(
	ctx context.Context, beat wire.Heartbeat, wait bool) (work *skills.Work, err error) {
	began := time.Now()
	w := wake.Watcher{Stop: func() {}}
	if wait {
		w = h.watch(ctx, beat.RuntimeID, backends.Waker.WatchMailbox)
	}
	defer w.Stop()
	limit := h.config.HeartbeatTime - time.Since(began) // the start of a watch may take time
	for {
		work, err = h.claim(ctx, beat, limit)
		if !wait || work == nil || !work.Empty() || w.Wait(ctx, 0) != nil {
			return work, err
		}
		limit = h.config.HeartbeatTime
	}
}

// claim claims once, within a time limit.
func (h *Handler) claim(
	ctx context.Context, beat wire.Heartbeat, limit time.Duration) (*skills.Work, error) {
	id := beat.ClaimID
	if id == "" {
		id = cmp.Or(h.unsure.pop(beat.RuntimeID), rand.Text())
	}
	opts := []pending.PopOption{pending.WithClaimID(id)}
	if !beat.SupportsBatchImport {
		opts = append(opts, pending.WithLimit(h.config.Stores.Imports, 1))
	}
	work, err := within(ctx, limit, func(ctx context.Context) (*skills.Work, error) {
		return h.config.Stores.Heartbeat(ctx, beat.RuntimeID, opts...)
	})
	if work == nil && beat.ClaimID == "" {
		h.unsure.put(beat.RuntimeID, id)
	}
	return work, err
}

// unsureClaims has the ids of claims whose outcome is unknown, by runtime. If a daemon sends no
// claim id, its next heartbeat repeats such a claim, so that no claimed request is lost.
type unsureClaims struct {
	mu  sync.Mutex
	ids map[string]string
}

const maxUnsure = 10_000

// put notes the id of a runtime's claim. If the map is full, put forgets the id of another runtime,
// which may never return.
func (u *unsureClaims) put(runtimeID, claimID string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ids == nil {
		u.ids = map[string]string{}
	}
	for other := range u.ids {
		if len(u.ids) < maxUnsure {
			break
		}
		delete(u.ids, other)
	}
	u.ids[runtimeID] = claimID
}

// pop returns and forgets the id of a runtime's claim, or returns "".
func (u *unsureClaims) pop(runtimeID string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	id := u.ids[runtimeID]
	delete(u.ids, runtimeID)
	return id
}

// Assign returns the answer to a heartbeat that has claimed this work. It is for servers with their
// own routes or WebSocket hub.
func Assign(s *skills.Stores, work *skills.Work) *wire.Assignments {
	p := s.Policies()
	a := &wire.Assignments{Status: "ok", List: assignment(work.List, p.Lists),
		Ping: assignment(work.Ping, p.Pings), ModelList: assignment(work.ModelList, p.ModelLists)}
	for _, claim := range work.Imports {
		a.Imports = append(a.Imports, wire.ImportAssignment{
			Assignment: *assignment(claim, p.Imports), SkillKey: claim.Payload.SkillKey})
	}
	if len(a.Imports) > 0 {
		a.Import = &a.Imports[0]
	}
	if work.Update != nil {
		a.Update = &wire.UpdateAssignment{Assignment: *assignment(work.Update, p.Updates),
			TargetVersion: work.Update.Payload.TargetVersion}
	}
	return a
}

func assignment[T any](claim *pending.Claim[T], p pending.Policy) *wire.Assignment {
	if claim == nil {
		return nil
	}
	a := &wire.Assignment{ID: claim.ID}
	if p.MaxAttempts > 1 {
		a.Attempt = claim.Attempt
	}
	return a
}

package skillshttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/internal/quota"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/wire"
)

// orTrue returns the value of "supported", which is true if it is missing.
func orTrue(supported *bool) bool { return supported == nil || *supported }

// answerLimit is the most bytes of a report other than an import's. The stores have the same limit.
const answerLimit = 16 << 20

func (h *Handler) daemonRoutes() {
	h.handle("POST /api/daemon/heartbeat", h.heartbeat)
	h.handle("GET /api/daemon/ws", h.socket)
	s, p := h.config.Stores, h.config.Stores.Policies()
	short := min(answerLimit, h.config.MaxBody)
	reports(h, reported[skills.List, wire.ListReport]{path: "/local-skills",
		store: s.Lists, policy: p.Lists, limit: short, apply: h.listed})
	reports(h, reported[skills.Import, wire.ImportReport]{path: "/local-skills/import",
		store: s.Imports, policy: p.Imports, limit: h.config.MaxBody, apply: h.imported,
		tooLate: h.importedTooLate})
	reports(h, reported[skills.Ping, wire.PingReport]{path: "/ping",
		store: s.Pings, policy: p.Pings, limit: short, apply: h.pinged})
	reports(h, reported[skills.Update, wire.UpdateReport]{path: "/update",
		store: s.Updates, policy: p.Updates, limit: short, apply: h.updated})
	reports(h, reported[skills.ModelList, wire.ModelListReport]{path: "/models",
		store: s.ModelLists, policy: p.ModelLists, limit: short, apply: h.modelsListed})
}

// done is the answer to a report that was accepted, or that came too late.
type done struct {
	Status string `json:"status"`
}

// reported describes the route for reports R about the requests of one store.
type reported[T any, R interface{ Head() wire.Report }] struct {
	path   string
	store  *pending.PendingStore[T]
	policy pending.Policy
	limit  int64 // bytes of a report

	// apply acts on a report about a live request.
	apply func(context.Context, *pending.Claim[T], R) error

	// tooLate acts on a report about a request that has ended. nil: nothing.
	tooLate func(context.Context, *pending.Request[T]) error
}

func reports[T any, R interface{ Head() wire.Report }](h *Handler, k reported[T, R]) {
	const route = "POST /api/daemon/runtimes/{runtimeId}%s/{requestId}/result"
	h.handle(fmt.Sprintf(route, k.path), func(c *call) (any, error) {
		if err := c.authoriseDaemon(c.runtimeID); err != nil {
			return nil, err
		}
		err := k.serve(c)
		if late(err) {
			err = nil
		}
		return done{"ok"}, err
	})
}

// serve looks the request up before it reads the report, which may be large.
func (k reported[T, R]) serve(c *call) error {
	r, err := k.look(c)
	if err != nil {
		return err
	}
	if r.Status.Ended() {
		ctx, cancel := c.detached()
		defer cancel()
		if k.tooLate != nil {
			err = k.tooLate(ctx, r)
		}
		c.discard(k.limit)
		return err
	}
	var report R
	err = c.decodeReport(&report, k.limit)
	// If MaxAttempts > 1, the attempt is in the body, which was not read.
	if isTooLarge(err) && k.policy.MaxAttempts <= 1 {
		return k.fail(c, r.Attempt, reportTooLarge, err)
	}
	if err != nil {
		return err
	}
	ctx, cancel := c.detached()
	defer cancel()
	claim, err := k.held(ctx, c, report.Head().Attempt)
	if err != nil {
		return err
	}
	err = k.apply(ctx, claim, report)
	switch {
	case isTooLarge(err):
		return k.fail(c, claim.Attempt, reportTooLarge, err)
	case errors.Is(err, pending.ErrInvalid):
		return k.fail(c, claim.Attempt, "the runtime's report cannot be stored", err)
	}
	return err
}

const reportTooLarge = "the runtime's report is too large"

// look reads the request that a report is about. Only a few requests are read at a time, since an
// ended request can be large.
func (k reported[T, R]) look(c *call) (*pending.Request[T], error) {
	ctx, cancel := c.callContext()
	defer cancel()
	const ofOne, ofAll = 2, 32
	shares := []quota.Share{quota.Of("daemons", ofAll), quota.Of(ofRuntime(c.runtimeID), ofOne),
		quota.Of(ofRequest("of daemons "+c.requestID), 1)}
	if !c.reading.Enter(ctx, 1, shares) {
		return nil, fmt.Errorf("read the request: %w", errSlow)
	}
	defer c.reading.Leave(1, shares)
	return found(k.store.Get(ctx, c.requestID, pending.InMailbox(c.runtimeID)))
}

// held returns the claim that a report is about. If the store allows one attempt, the report may
// omit the attempt.
func (k reported[T, R]) held(
	ctx context.Context, c *call, attempt int) (*pending.Claim[T], error) {
	switch {
	case attempt < 0 || attempt == 0 && k.policy.MaxAttempts > 1:
		return nil, invalid("attempt is required: see the answer to the heartbeat")
	case attempt == 0:
		attempt = pending.AnyAttempt
	}
	return found(k.store.Held(ctx, c.requestID, attempt, pending.InMailbox(c.runtimeID)))
}

// discard reads the rest of a body, so that the client can read the answer.
func (c *call) discard(limit int64) {
	from := &paced{call: c, from: http.MaxBytesReader(c.w, c.r.Body, limit),
		control: http.NewResponseController(c.w), end: time.Now().Add(c.config.BodyTimeout)}
	_, _ = io.Copy(io.Discard, from) // an error does not change the answer
}

// late reports whether a report came after its request had ended or its lease had expired. Such a
// report is answered as if it were accepted.
func late(err error) bool {
	return errors.Is(err, pending.ErrEnded) || errors.Is(err, pending.ErrStaleClaim)
}

func isTooLarge(err error) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.status == http.StatusRequestEntityTooLarge ||
		errors.Is(err, pending.ErrTooLarge)
}

// fail ends a request whose report is answered 413 or 400: its daemon will not retry the report.
func (k reported[T, R]) fail(c *call, attempt int, reason string, cause error) error {
	ctx, cancel := c.detached()
	defer cancel()
	// A fresh claim has the stored payload, not that of the report.
	claim, err := k.store.Held(ctx, c.requestID, attempt)
	if err == nil && !claim.Status.Ended() {
		err = k.store.Fail(ctx, claim, reason)
	}
	if err != nil && !late(err) {
		return err
	}
	return cause
}

// end ends a request as its report says.
func end[T any](ctx context.Context, store *pending.PendingStore[T], claim *pending.Claim[T],
	report wire.Report) error {
	if report.Status == string(pending.StatusCompleted) {
		return store.Complete(ctx, claim)
	}
	reason := cmp.Or(report.Error,
		fmt.Sprintf("the runtime reported %.40q without a reason", report.Status))
	return store.Fail(ctx, claim, reason)
}

func (h *Handler) listed(
	ctx context.Context, claim *pending.Claim[skills.List], report wire.ListReport) error {
	claim.Payload = report.List
	claim.Payload.Supported = orTrue(report.Supported)
	claim.Payload.LeftOut = report.LeftOut[:min(len(report.LeftOut), skills.MaxOmissions)]
	return end(ctx, h.config.Stores.Lists, claim, report.Report)
}

func (h *Handler) pinged(
	ctx context.Context, claim *pending.Claim[skills.Ping], report wire.PingReport) error {
	claim.Payload = report.Ping
	return end(ctx, h.config.Stores.Pings, claim, report.Report)
}

func (h *Handler) updated(ctx context.Context, claim *pending.Claim[skills.Update],
	report wire.UpdateReport) error {
	switch pending.Status(report.Status) {
	case pending.StatusRunning:
		return h.config.Stores.Updates.Extend(ctx, claim)
	case pending.StatusCompleted, pending.StatusFailed:
		claim.Payload.Output = report.Output
		return end(ctx, h.config.Stores.Updates, claim, report.Report)
	}
	return invalid("status is neither running, completed nor failed")
}

func (h *Handler) modelsListed(ctx context.Context,
	claim *pending.Claim[skills.ModelList], report wire.ModelListReport) error {
	list := report.ModelList
	list.Supported, list.Cached, list.CachedAt = orTrue(report.Supported), false, nil
	claim.Payload = list
	err := end(ctx, h.config.Stores.ModelLists, claim, report.Report)
	if err == nil && claim.Status == pending.StatusCompleted && !report.Fallback {
		h.storeModels(ctx, claim)
	}
	return err
}

// detached returns a context for work that has to be finished even if the client hangs up.
func (c *call) detached() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), c.config.BodyTimeout)
}

package skillshttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// Report is the head of every report; the fields of the result stand beside it.
type Report struct {
	Status string `json:"status"` // StatusCompleted; anything else is a failure, but for an update's "running"
	Error  string `json:"error,omitempty"`
}

// ListReport is a runtime's answer to a list.
type ListReport struct {
	Report
	Skills       []skills.LocalSkill `json:"skills,omitempty"`
	Supported    *bool               `json:"supported,omitempty"` // nil: true
	MCPServers   []skills.MCPServer  `json:"mcp_servers,omitempty"`
	MCPSupported bool                `json:"mcp_supported"`
}

// ImportReport is a runtime's answer to an import.
type ImportReport struct {
	Report
	Skill *skills.Bundle `json:"skill,omitempty"`
}

// PingReport is a runtime's answer to a ping.
type PingReport struct {
	Report
	skills.Ping
}

// UpdateReport is what a runtime says of an update.
type UpdateReport struct {
	Report
	Output string `json:"output,omitempty"`
}

// ModelListReport is a runtime's answer to a list of models.
type ModelListReport struct {
	Report
	Models    []skills.Model `json:"models,omitempty"`
	Supported *bool          `json:"supported,omitempty"` // nil: true
}

// orTrue is what a missing "supported" means.
func orTrue(supported *bool) bool { return supported == nil || *supported }

func (h *Handler) daemonRoutes() {
	h.handle("POST /api/daemon/heartbeat", h.heartbeat)
	reports(h, "/local-skills", h.config.Stores.Lists, nothing, h.listed)
	reports(h, "/local-skills/import", h.config.Stores.Imports, h.importedTooLate, h.imported)
	reports(h, "/ping", h.config.Stores.Pings, nothing, h.pinged)
	reports(h, "/update", h.config.Stores.Updates, nothing, h.updated)
	reports(h, "/models", h.config.Stores.ModelLists, nothing, h.modelsListed)
}

// done is the answer to a report that was taken, or that came too late.
type done struct {
	Status string `json:"status"`
}

// nothing is what most stores do about a report that comes too late.
func nothing[T any](*call, *pending.Request[T]) error { return nil }

// reports serves the reports of one store. Take acts on a report R about a live request. TooLate
// acts on a report about a request that has ended.
//
// A report does not say its attempt. The MaxAttempts of these stores is 1, so there is at most one
// claim, and AnyAttempt stands for it.
func reports[T, R any](h *Handler, path string, store *pending.PendingStore[T],
	tooLate func(*call, *pending.Request[T]) error,
	take func(*call, *pending.Claim[T], R) error) {
	h.handle("POST /api/daemon/runtimes/{runtimeId}"+path+"/{requestId}/result", func(c *call) (any, error) {
		if err := c.authoriseDaemon(); err != nil {
			return nil, err
		}
		var report R
		tooLarge := c.decode(&report, c.config.MaxBody)
		if tooLarge != nil && !isTooLarge(tooLarge) {
			return nil, tooLarge
		}
		claim, err := found(store.Held(
			c.r.Context(), c.requestID, pending.AnyAttempt, pending.InMailbox(c.runtimeID)))
		if err != nil {
			return nil, err
		}
		switch {
		case tooLarge != nil:
			err = tooLarge
		case claim.Status.Ended():
			err = tooLate(c, &claim.Request)
		default:
			err = take(c, claim, report)
		}
		if isTooLarge(err) {
			return nil, failTooLarge(c, store, claim, err)
		}
		if late(err) {
			err = nil
		}
		return done{"ok"}, err
	})
}

// late reports whether a report came after its request had ended or its lease had expired. That is
// nobody's fault.
func late(err error) bool {
	return errors.Is(err, pending.ErrEnded) || errors.Is(err, pending.ErrStaleClaim)
}

func isTooLarge(err error) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.status == http.StatusRequestEntityTooLarge ||
		errors.Is(err, pending.ErrTooLarge)
}

// failTooLarge ends a request whose report is answered 413: its daemon will not retry the report.
// It loads the claim again, because the report may have changed the payload.
func failTooLarge[T any](
	c *call, store *pending.PendingStore[T], changed *pending.Claim[T], cause error) error {
	claim, err := store.Held(c.r.Context(), changed.ID, changed.Attempt)
	if err == nil && !claim.Status.Ended() {
		err = store.Fail(c.r.Context(), claim, "the runtime's report is too large")
	}
	if err != nil && !late(err) {
		return err
	}
	return cause
}

// end ends a request as its report says.
func end[T any](
	c *call, store *pending.PendingStore[T], claim *pending.Claim[T], report Report) error {
	if report.Status == string(pending.StatusCompleted) {
		return store.Complete(c.r.Context(), claim)
	}
	reason := cmp.Or(report.Error,
		fmt.Sprintf("the runtime reported %.40q without a reason", report.Status))
	return store.Fail(c.r.Context(), claim, reason)
}

func (h *Handler) listed(c *call, claim *pending.Claim[skills.List], report ListReport) error {
	claim.Payload = skills.List{Skills: report.Skills, Supported: orTrue(report.Supported),
		MCPServers: report.MCPServers, MCPSupported: report.MCPSupported}
	return end(c, h.config.Stores.Lists, claim, report.Report)
}

func (h *Handler) pinged(c *call, claim *pending.Claim[skills.Ping], report PingReport) error {
	claim.Payload = report.Ping
	return end(c, h.config.Stores.Pings, claim, report.Report)
}

func (h *Handler) updated(c *call, claim *pending.Claim[skills.Update], report UpdateReport) error {
	switch pending.Status(report.Status) {
	case pending.StatusRunning:
		return h.config.Stores.Updates.Extend(c.r.Context(), claim)
	case pending.StatusCompleted, pending.StatusFailed:
		claim.Payload.Output = report.Output
		return end(c, h.config.Stores.Updates, claim, report.Report)
	}
	return refuse(http.StatusBadRequest, "status is neither running, completed nor failed")
}

func (h *Handler) modelsListed(
	c *call, claim *pending.Claim[skills.ModelList], report ModelListReport) error {
	claim.Payload = skills.ModelList{Models: report.Models, Supported: orTrue(report.Supported)}
	return end(c, h.config.Stores.ModelLists, claim, report.Report)
}

// detached returns a context for work that has to be finished although the client may have gone.
func (c *call) detached() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), c.config.BodyTimeout)
}

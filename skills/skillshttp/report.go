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
	reports(h, "/local-skills", h.Stores.Lists, nothing, func(c *call, r *pending.Request[skills.List], report ListReport) error {
		r.Payload = skills.List{Skills: report.Skills, Supported: orTrue(report.Supported),
			MCPServers: report.MCPServers, MCPSupported: report.MCPSupported}
		return end(c, h.Stores.Lists, r, report.Report)
	})
	reports(h, "/local-skills/import", h.Stores.Imports, h.importedTooLate, h.imported)
	reports(h, "/ping", h.Stores.Pings, nothing, func(c *call, r *pending.Request[skills.Ping], report PingReport) error {
		r.Payload = report.Ping
		return end(c, h.Stores.Pings, r, report.Report)
	})
	reports(h, "/update", h.Stores.Updates, nothing, h.updated)
	reports(h, "/models", h.Stores.ModelLists, nothing, func(c *call, r *pending.Request[skills.ModelList], report ModelListReport) error {
		r.Payload = skills.ModelList{Models: report.Models, Supported: orTrue(report.Supported)}
		return end(c, h.Stores.ModelLists, r, report.Report)
	})
}

// done is the answer to a report that was taken, or came too late to matter.
type done struct {
	Status string `json:"status"`
}

// nothing is what most reports do that come too late.
func nothing[T any](*call, *pending.Request[T]) error { return nil }

// reports serves the reports of one store. Take acts on a report R about a live request, and tooLate on one about a
// request that has ended.
func reports[T, R any](h *Handler, path string, store *pending.PendingStore[T], tooLate func(*call, *pending.Request[T]) error,
	take func(*call, *pending.Request[T], R) error) {
	h.handle("POST /api/daemon/runtimes/{runtimeId}"+path+"/{requestId}/result", func(c *call) (any, error) {
		if err := c.authoriseDaemon(); err != nil {
			return nil, err
		}
		var report R
		tooLarge := c.decode(&report, c.MaxBody)
		if tooLarge != nil && !isTooLarge(tooLarge) {
			return nil, tooLarge
		}
		r, err := found(store.Get(c.r.Context(), c.requestID, pending.InMailbox(c.runtimeID)))
		if err != nil {
			return nil, err
		}
		switch {
		case tooLarge != nil:
			err = tooLarge
		case r.Status.Ended():
			err = tooLate(c, r)
		default:
			err = take(c, r, report)
		}
		if isTooLarge(err) {
			return nil, failTooLarge(c, store, r, err)
		}
		if late(err) {
			err = nil
		}
		return done{"ok"}, err
	})
}

// late reports whether a report came after its request had ended or lapsed, which is no one's fault.
func late(err error) bool {
	return errors.Is(err, pending.ErrEnded) || errors.Is(err, pending.ErrStaleClaim)
}

func isTooLarge(err error) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.status == http.StatusRequestEntityTooLarge || errors.Is(err, pending.ErrTooLarge)
}

// failTooLarge ends a request whose report nobody will repeat, since it is answered 413.
func failTooLarge[T any](c *call, store *pending.PendingStore[T], asked *pending.Request[T], cause error) error {
	r, err := store.Get(c.r.Context(), asked.ID) // as asked: the report may have changed the payload
	if err == nil && !r.Status.Ended() {
		err = store.Fail(c.r.Context(), r, "the runtime's report is too large")
	}
	if err != nil && !late(err) {
		return err
	}
	return cause
}

// end ends a request as its report says.
func end[T any](c *call, store *pending.PendingStore[T], r *pending.Request[T], report Report) error {
	if report.Status == string(pending.StatusCompleted) {
		return store.Complete(c.r.Context(), r)
	}
	return store.Fail(c.r.Context(), r, cmp.Or(report.Error, fmt.Sprintf("the runtime reported %.40q without a reason", report.Status)))
}

func (h *Handler) updated(c *call, r *pending.Request[skills.Update], report UpdateReport) error {
	switch pending.Status(report.Status) {
	case pending.StatusRunning:
		return h.Stores.Updates.Extend(c.r.Context(), r)
	case pending.StatusCompleted, pending.StatusFailed:
		r.Payload.Output = report.Output
		return end(c, h.Stores.Updates, r, report.Report)
	}
	return refuse(http.StatusBadRequest, "status is neither running, completed nor failed")
}

// detached is a context for what has to be finished although the client may have gone.
func (c *call) detached() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), c.BodyTimeout)
}

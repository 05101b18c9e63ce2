// Package wire has the messages that front ends and daemons exchange with a server of the five
// stores: requests, answers, and the codes of refusals. A daemon imports it without the server,
// which is package skillshttp. All messages are JSON. Every reader ignores unknown fields.
package wire

import (
	"net/url"
	"strings"

	"github.com/pendingq/pendingq/skills"
)

// ImportQuestion is the body with which a front end asks for the import of a skill. Spaces around
// its texts are ignored. A server refuses texts over the limits of package skills.
type ImportQuestion struct {
	SkillKey         string `json:"skill_key"`
	Name             string `json:"name,omitempty"`
	Description      string `json:"description,omitempty"`
	Action           string `json:"action,omitempty"` // "" or skills.ActionOverwrite
	TargetSkillID    string `json:"target_skill_id,omitempty"`
	SupportsConflict bool   `json:"supports_conflict,omitempty"`
}

// UpdateQuestion is the body with which a front end asks a runtime to update itself.
type UpdateQuestion struct {
	TargetVersion string `json:"target_version"`
}

// Heartbeat is the body with which a daemon asks for work.
type Heartbeat struct {
	RuntimeID string `json:"runtime_id"`

	// SupportsBatchImport says that the daemon reads Assignments.Imports. Without it the daemon
	// gets one import at a time, in Assignments.Import.
	SupportsBatchImport bool `json:"supports_batch_import,omitempty"`

	// ClaimID makes the heartbeat repeatable: the same heartbeat gets the same answer. 1 to 512
	// bytes.
	ClaimID string `json:"claim_id,omitempty"`
}

// Assignments is the answer to a [Heartbeat]: the requests that the runtime has claimed.
type Assignments struct {
	Status string      `json:"status"` // "ok"
	List   *Assignment `json:"pending_local_skills,omitempty"`

	// Import is the first of Imports, for daemons that do not support batches.
	Import *ImportAssignment `json:"pending_local_skill_import,omitempty"`

	Imports   []ImportAssignment `json:"pending_local_skill_imports,omitempty"`
	Ping      *Assignment        `json:"pending_ping,omitempty"`
	Update    *UpdateAssignment  `json:"pending_update,omitempty"`
	ModelList *Assignment        `json:"pending_model_list,omitempty"`
}

// Empty reports whether there is nothing to do.
func (a *Assignments) Empty() bool {
	return a.List == nil && a.Import == nil && len(a.Imports) == 0 && a.Ping == nil &&
		a.Update == nil && a.ModelList == nil
}

// Assignment is a claimed request.
type Assignment struct {
	ID string `json:"id"`

	// Attempt is the attempt of the claim. The report repeats it. It is 0, and left out, if the
	// store allows one attempt.
	Attempt int `json:"attempt,omitempty"`
}

// ImportAssignment is a claimed import.
type ImportAssignment struct {
	Assignment
	SkillKey string `json:"skill_key"`
}

// UpdateAssignment is a claimed update.
type UpdateAssignment struct {
	Assignment
	TargetVersion string `json:"target_version"`
}

// ClaimFailed is a header of the answer to a heartbeat. It is set if the server's claim failed, or
// its outcome is unknown. A daemon that repeats the heartbeat with the same claim id loses no
// request.
const ClaimFailed = "Claim-Failed"

// Report is the head of every report: the fields that all reports have. The fields of the result
// are in the same JSON object.
type Report struct {
	// Status is "completed", or "running" for an update. Anything else is a failure.
	Status  string `json:"status"`
	Error   string `json:"error,omitempty"`
	Attempt int    `json:"attempt,omitempty"` // Assignment.Attempt; 0 if there was none
}

// Head returns the head of a report that embeds it.
func (r Report) Head() Report { return r }

// SetAttempt sets the attempt of the head.
func (r *Report) SetAttempt(attempt int) { r.Attempt = attempt }

// ListReport is a runtime's answer to a list.
type ListReport struct {
	Report
	skills.List
	Supported *bool `json:"supported,omitempty"` // instead of List.Supported; nil: true
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

// UpdateReport is a runtime's report on an update, which may still run.
type UpdateReport struct {
	Report
	Output string `json:"output,omitempty"`
}

// ModelListReport is a runtime's answer to a list of models.
type ModelListReport struct {
	Report
	skills.ModelList
	Supported *bool `json:"supported,omitempty"` // instead of ModelList.Supported; nil: true

	// Fallback says that the runtime could not list its own models, and lists others instead.
	Fallback bool `json:"fallback,omitempty"`
}

// Refusal is the body of every answer other than 200.
type Refusal struct {
	Error string `json:"error"`          // for people
	Code  string `json:"code,omitempty"` // for programs; "" for an unknown request and for 500
	ID    string `json:"id,omitempty"`   // of the live update, for CodeBusy
}

// The codes of refusals.
const (
	CodeUnauthorized = "unauthorized"   // 401: the token is missing or wrong
	CodeForbidden    = "forbidden"      // 403
	CodeRuntimeGone  = "runtime_gone"   // 404: the runtime was deleted; its daemon forgets it
	CodeBusy         = "busy"           // 409: the runtime has a live update
	CodeInvalid      = "invalid"        // 400: the text names the field
	CodeTooLarge     = "too_large"      // 413: the text names the limit
	CodeFull         = "full"           // 429: too many requests are pending for the runtime
	CodeTooManyWaits = "too_many_waits" // 429: too many requests with ?wait= are held
	CodeOverloaded   = "overloaded"     // 429 or 503: too many bytes at once, or a slow body
	CodeOffline      = "offline"        // 503: the runtime is offline
)

// RuntimeGone is the text of the Refusal that a deleted runtime gets. Existing daemons compare it.
const RuntimeGone = "runtime not found"

// Frame is a message over the WebSocket at /api/daemon/ws.
type Frame[P any] struct {
	Type    string `json:"type"`
	Payload P      `json:"payload"`
}

// The types of frames.
const (
	TypeHeartbeat    = "daemon:heartbeat"     // a Heartbeat, from the daemon
	TypeHeartbeatAck = "daemon:heartbeat_ack" // a HeartbeatAck
	TypePendingWork  = "daemon:pending_work"  // a PendingWork
)

// HeartbeatAck answers a [Heartbeat] over the WebSocket.
type HeartbeatAck struct {
	Assignments        // Status is "ok", StatusRuntimeGone or StatusNotFound
	RuntimeID   string `json:"runtime_id"`
	RuntimeGone bool   `json:"runtime_gone,omitempty"` // the runtime was deleted
	ClaimFailed bool   `json:"claim_failed,omitempty"` // as the header [ClaimFailed] over HTTP
}

// The Status of a [HeartbeatAck] without Assignments.
const (
	StatusRuntimeGone = "runtime_gone"
	StatusNotFound    = "not_found" // the caller is not this runtime's daemon
)

// PendingWork is a hint that a heartbeat may bring work. It may be lost or come twice.
type PendingWork struct {
	RuntimeID string `json:"runtime_id"`
	Kind      string `json:"kind"` // one of the kinds below
}

// The kinds of work that a server hints at.
const (
	KindList      = "local_skills"
	KindImport    = "local_skill_import"
	KindUpdate    = "update"
	KindModelList = "model_list"
)

// PathSegment escapes a runtime's id for the path of a URL. Servers and proxies resolve the plain
// segments "." and "..", so this escapes their dots, too.
func PathSegment(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return url.PathEscape(id)
}

package dashboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/pending"
)

// requestPage is the page of a request.
type requestPage struct {
	*requestRow
	Policy     pending.Policy
	Events     []event
	Holder     string
	Private    bool // headers and payload are hidden
	HeaderList []header
	Payload    string
	Hidden     string // why there is no payload
	Cancel     string // the link to the cancel page; "" if it is not allowed
	Mail       string // the link to the mailbox
}

type event struct {
	At    time.Time
	What  string
	Kind  string        // a status, for the colour of the event
	Later bool          // it lies in the future
	After time.Duration // since the create
}

type header struct{ Name, Value string }

func isNotFound(err error) bool { return errors.Is(err, backends.ErrNotFound) }

// find reads a request. It returns ErrNotFound if the sender of r may not see it.
func (d *Dashboard) find(
	ctx context.Context, r *http.Request, store, id string) (*requestRow, error) {
	if backends.CheckID(id) != nil || d.visible(r, store) == nil {
		return nil, backends.ErrNotFound
	}
	rec, err := d.backend.Get(ctx, store, id)
	if err != nil {
		return nil, err
	}
	if !d.allowed(r, View, store, rec.Mailbox) {
		return nil, backends.ErrNotFound
	}
	return &requestRow{rec, store}, nil
}

func (d *Dashboard) request(ctx context.Context, r *http.Request) (*view, error) {
	row, err := d.find(ctx, r, param(r, "store"), param(r, "id"))
	if err != nil {
		return nil, err
	}
	return d.requestView(ctx, r, row)
}

func (d *Dashboard) requestView(
	ctx context.Context, r *http.Request, row *requestRow) (*view, error) {
	s := d.stores[row.Store]
	p := &requestPage{requestRow: row, Policy: s.Policy, Events: timeline(row.Record),
		Holder: holder(row.Record), Mail: link("mailbox", "store", row.Store, "name", row.Mailbox)}
	if !row.Ended() && row.CancelledAs == "" && d.allowed(r, Cancel, row.Store, row.Mailbox) {
		p.Cancel = link("cancel", "store", row.Store, "id", row.ID)
	}
	var trouble error
	p.Private = !d.allowed(r, ReadPayload, row.Store, row.Mailbox)
	switch {
	case p.Private:
		p.Hidden = "You may not see payloads and headers."
	case s.Payload == nil:
		p.Hidden = "This dashboard is not configured to show payloads of this store."
	default:
		trouble = d.showPayload(ctx, s, p)
	}
	if !p.Private {
		for _, name := range slices.Sorted(maps.Keys(row.Headers)) {
			p.HeaderList = append(p.HeaderList, header{name, row.Headers[name]})
		}
	}
	return &view{Title: "Request " + row.ID, Page: "request", Data: p, Trouble: trouble,
		Live: link("events", "page", "request", "store", row.Store, "id", row.ID)}, nil
}

// showPayload fills in the payload. An error may quote a payload, so the page does not show it.
func (d *Dashboard) showPayload(ctx context.Context, s *store, p *requestPage) error {
	payload, err := s.Payload(ctx, p.ID)
	if err == nil {
		p.Payload, err = payloadText(payload)
	}
	if err != nil {
		p.Hidden = "The payload cannot be read. The log of this server has the error."
		return fmt.Errorf("read the payload of request %s: %w", p.ID, err)
	}
	return nil
}

// holder says in words who holds a request.
func holder(rec backends.Record) string {
	switch {
	case rec.Ended() && rec.Attempt == 0:
		return "Nobody ever claimed it."
	case rec.Ended():
		return "Nobody holds it: it has ended."
	case rec.CancelledAs != "":
		return "A worker holds it and has been asked to stop."
	case rec.Status == backends.StatusRunning:
		return "A worker of this mailbox holds it until the deadline."
	case rec.Attempt > 0:
		return "Nobody: its worker released it, or was silent for too long. " +
			"It waits for another claim."
	}
	return "Nobody yet: it waits for a worker to claim it."
}

// timeline returns the known past events of a request, and its next deadline.
func timeline(rec backends.Record) []event {
	events := []event{{At: rec.CreatedAt, What: "Created", Kind: backends.StatusPending}}
	add := func(at time.Time, kind, what string, later bool) {
		after := max(0, at.Sub(rec.CreatedAt)) // the backend's clock may have been set back
		events = append(events, event{at, what, kind, later, after})
	}
	if !rec.StartedAt.IsZero() {
		claimed := fmt.Sprintf("Claimed, attempt %d", rec.Attempt)
		add(rec.StartedAt, backends.StatusRunning, claimed, false)
	}
	changed := rec.UpdatedAt.After(rec.StartedAt) && rec.UpdatedAt.After(rec.CreatedAt)
	switch {
	case rec.Ended():
		add(rec.UpdatedAt, rec.Status, strings.ToUpper(rec.Status[:1])+rec.Status[1:], false)
		return events
	case rec.CancelledAs != "":
		add(rec.UpdatedAt, "stopping", "Cancel requested: "+rec.CancelReason, false)
		add(rec.Deadline, rec.CancelledAs, "Cancelled unless the worker ends it", true)
		return events
	case rec.Status == backends.StatusRunning && changed:
		add(rec.UpdatedAt, backends.StatusRunning, "The worker's last sign of life", false)
	case rec.Status == backends.StatusPending && rec.Attempt > 0:
		add(rec.UpdatedAt, "retrying", "Released, or its lease expired", false)
	}
	last := "Times out unless a worker claims it"
	if rec.Status == backends.StatusRunning {
		last = "Times out unless the worker reports"
	}
	if rec.Deadline.Before(rec.LastDeadline) {
		last = "The lease expires, and another claim may follow"
	}
	add(rec.Deadline, backends.StatusTimeout, last, true)
	return events
}

// confirm is the page that asks for a reason before a cancel.
func (d *Dashboard) confirm(ctx context.Context, r *http.Request) (*view, error) {
	row, err := d.find(ctx, r, param(r, "store"), param(r, "id"))
	if err != nil {
		return nil, err
	}
	if !d.allowed(r, Cancel, row.Store, row.Mailbox) {
		return nil, backends.ErrNotFound
	}
	return &view{Title: "Cancel " + row.ID, Page: "cancel",
		Data: &requestPage{requestRow: row, Policy: d.stores[row.Store].Policy}}, nil
}

const maxReason = 1600 // bytes; the form allows 400 characters

// cancel cancels a request, and redirects to its page.
func (d *Dashboard) cancel(w http.ResponseWriter, r *http.Request) {
	if err := d.config.CrossOrigin.Check(r); err != nil {
		d.say(w, http.StatusForbidden, foreign)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	ctx, stop := context.WithTimeout(r.Context(), d.config.Timeout)
	defer stop()
	row, err := d.find(ctx, r, r.PostFormValue("store"), r.PostFormValue("id"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	who, allowed := d.config.Access(r, Cancel, row.Store, row.Mailbox)
	if !allowed {
		d.notFound(w)
		return
	}
	reason := check.Cut(strings.TrimSpace(r.PostFormValue("reason")), maxReason)
	if reason == "" {
		d.say(w, http.StatusBadRequest, unexplained)
		return
	}
	request := &pending.Request[struct{}]{ID: row.ID, Mailbox: row.Mailbox}
	err = d.stores[row.Store].cancel.Cancel(ctx, request, reason)
	d.config.Logger.LogAttrs(ctx, slog.LevelInfo, "dashboard: cancel", slog.String("who", who),
		slog.String("store", row.Store), slog.Any("request", request),
		slog.String("reason", reason), slog.Any("error", err))
	if err != nil && !errors.Is(err, pending.ErrEnded) { // the page shows how it ended
		d.refuse(w, r, err)
		return
	}
	w.Header().Set("Location", row.Link()) // http.Redirect would need the prefix of the mount
	w.WriteHeader(http.StatusSeeOther)
}

package dashboard

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
	"github.com/pendingq/pendingq/pending"
)

// The limits of what a page reads.
const (
	mailboxRows = 25 // mailboxes on the overview
	glanceRows  = 10 // requests of each mailbox on the overview
	requestRows = 50 // requests on the page of a mailbox
	gatherCalls = 80 // calls for pages of mailboxes; many of the pages may be empty
	parallel    = 4  // reads at a time

	gatherTime = 50 * time.Millisecond // after that, no further call for mailboxes
)

// overview is the page of all stores, with the mailboxes of one of them.
type overview struct {
	Stores    []storeRow
	Observed  bool
	Store     string // the store that has these mailboxes
	Mailboxes []mailboxRow
	First     bool   // this is the first page
	Next      string // the link to the next page; "" if this is the last
}

type storeRow struct {
	Name    string
	Link    string
	Current bool
	Policy  pending.Policy
	Figures Figures
}

type mailboxRow struct {
	Store, Name      string
	Link             string
	Pending, Running int
	More             bool          // the mailbox has more live requests than were read
	Oldest           time.Duration // the age of the oldest request that was read
	Since            time.Time     // when that request was created
	Error            string
}

// param returns a parameter of the URL.
func param(r *http.Request, name string) string { return r.URL.Query().Get(name) }

// link returns a relative link to a page. Pairs are the names and values of its parameters, in
// turn. A parameter without a value is left out.
func link(page string, pairs ...string) string {
	q := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	if len(q) == 0 {
		return "./" + page
	}
	return "./" + page + "?" + q.Encode()
}

func (d *Dashboard) overview(ctx context.Context, r *http.Request) (*view, error) {
	names := d.visibleNames(r)
	o := &overview{Observed: d.observed != nil, Store: param(r, "store")}
	if o.Store == "" && len(names) > 0 {
		o.Store = names[0]
	}
	if o.Store != "" && !slices.Contains(names, o.Store) {
		return nil, backends.ErrNotFound
	}
	for _, name := range names {
		row := storeRow{Name: name, Policy: d.stores[name].Policy, Current: name == o.Store,
			Link: link("", "store", name)}
		if d.observed != nil {
			row.Figures = d.observed.Figures(name)
		}
		o.Stores = append(o.Stores, row)
	}
	sealed := param(r, "after")
	after := d.cursors.open(sealed)
	if o.First = after == ""; o.First {
		sealed = ""
	}
	v := &view{Title: "Overview", Page: "overview", Data: o, Live: link("events",
		"page", "overview", "store", param(r, "store"), "after", sealed)}
	if o.Store == "" {
		return v, nil
	}
	mailboxes, next, err := d.gather(ctx, o.Store, after, func(name string) bool {
		return d.allowed(r, View, o.Store, name)
	})
	if err != nil {
		return nil, err
	}
	if next != "" {
		o.Next = link("", "store", o.Store, "after", d.cursors.seal(next))
	}
	o.Mailboxes, v.Trouble = d.glance(ctx, o.Store, mailboxes)
	return v, nil
}

// gather collects visible names of mailboxes from several whole pages of the backend, at least
// mailboxRows if there are so many. A part of a page cannot be left for later: its names change.
func (d *Dashboard) gather(ctx context.Context, store, place string, visible func(string) bool) (
	names []string, next string, err error) {
	start := time.Now()
	for range gatherCalls {
		page, err := d.lister.Mailboxes(ctx, store, place, mailboxRows)
		if err != nil {
			return nil, "", err
		}
		for _, name := range page.Mailboxes {
			if visible(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		place = page.Next
		if place == "" || len(names) >= mailboxRows || time.Since(start) > gatherTime {
			break
		}
	}
	return names, place, nil
}

// glance reads a few requests of each mailbox, some mailboxes at a time. It leaves out mailboxes
// without live requests. Mailboxes with many requests come first, then those with the oldest
// request. It also returns the first error.
func (d *Dashboard) glance(
	ctx context.Context, store string, names []string) ([]mailboxRow, error) {
	rows, errs := make([]mailboxRow, len(names)), make([]error, len(names))
	var work sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, name := range names {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			rows[i], errs[i] = d.glanceAt(ctx, store, name)
		})
	}
	work.Wait()
	rows = slices.DeleteFunc(rows, func(row mailboxRow) bool {
		return row.Pending+row.Running == 0 && !row.More && row.Error == ""
	})
	slices.SortStableFunc(rows, func(x, y mailboxRow) int {
		switch {
		case x.More == y.More:
			return cmp.Compare(y.Oldest, x.Oldest)
		case x.More:
			return -1
		}
		return 1
	})
	return rows, cmp.Or(errs...)
}

func (d *Dashboard) glanceAt(ctx context.Context, store, name string) (mailboxRow, error) {
	row := mailboxRow{Store: store, Name: name, Link: link("mailbox", "store", store, "name", name)}
	page, err := d.lister.List(ctx, store, name, "", glanceRows)
	if err != nil {
		row.Error = "cannot be read"
	}
	if len(page.Errs) > 0 {
		row.Error, err = "damaged requests", page.Errs[0]
	}
	row.More = page.Next != ""
	for _, rec := range page.Records {
		if rec.Status == backends.StatusRunning {
			row.Running++
		} else {
			row.Pending++
		}
		if age := rec.ReadAt.Sub(rec.CreatedAt); age > row.Oldest || row.Since.IsZero() {
			row.Oldest, row.Since = age, rec.CreatedAt
		}
	}
	return row, err
}

// mailboxPage is the page of a mailbox.
type mailboxPage struct {
	Store, Name string
	Requests    []*requestRow
	Damaged     int
	First       bool
	Next        string
}

// requestRow is a request on a page.
type requestRow struct {
	backends.Record
	Store string
}

// Link returns the link to the request's page.
func (r *requestRow) Link() string { return link("request", "store", r.Store, "id", r.ID) }

// Age returns the time from the create to the end, or to now for a live request.
func (r *requestRow) Age() time.Duration {
	if r.Ended() {
		return r.UpdatedAt.Sub(r.CreatedAt)
	}
	return r.ReadAt.Sub(r.CreatedAt)
}

// Left returns the time to the deadline of a live request.
func (r *requestRow) Left() time.Duration { return max(0, r.Deadline.Sub(r.ReadAt)) }

// Span returns the time from the last change to the deadline.
func (r *requestRow) Span() time.Duration { return max(1, r.Deadline.Sub(r.UpdatedAt)) }

// Quiet returns the time since the last change.
func (r *requestRow) Quiet() time.Duration { return r.ReadAt.Sub(r.UpdatedAt) }

// Says returns the status in words. A running request with a noted cancel is "stopping". A pending
// request that was claimed before is "retrying".
func (r *requestRow) Says() string {
	if r.CancelledAs != "" {
		return "stopping"
	}
	if r.Status == backends.StatusPending && r.Attempt > 0 {
		return "retrying"
	}
	return r.Status
}

func (d *Dashboard) mailbox(ctx context.Context, r *http.Request) (*view, error) {
	m := &mailboxPage{Store: param(r, "store"), Name: param(r, "name")}
	if check.Mailbox(m.Name) != nil || d.visible(r, m.Store) == nil ||
		!d.allowed(r, View, m.Store, m.Name) {
		return nil, backends.ErrNotFound
	}
	after := param(r, "after")
	page, err := d.lister.List(ctx, m.Store, m.Name, after, requestRows)
	if err != nil {
		return nil, err
	}
	for _, rec := range page.Records {
		m.Requests = append(m.Requests, &requestRow{rec, m.Store})
	}
	slices.SortStableFunc(m.Requests, func(x, y *requestRow) int {
		return x.CreatedAt.Compare(y.CreatedAt)
	})
	m.Damaged, m.First = len(page.Errs), after == ""
	if page.Next != "" {
		m.Next = link("mailbox", "store", m.Store, "name", m.Name, "after", page.Next)
	}
	live := link("events", "page", "mailbox", "store", m.Store, "name", m.Name, "after", after)
	return &view{Title: "Mailbox " + shown(m.Name), Page: "mailbox", Data: m, Live: live,
		Trouble: errors.Join(page.Errs...)}, nil
}

// searchPage is the result of a search for a mailbox: a row for each store.
type searchPage struct {
	Name string
	Rows []mailboxRow
}

// search finds a request by its id, or a mailbox by its whole name.
func (d *Dashboard) search(ctx context.Context, r *http.Request) (*view, error) {
	query := param(r, "q")
	v := &view{Title: "Search", Page: "search", Query: query}
	if id := strings.TrimSpace(query); backends.CheckID(id) == nil {
		for _, name := range d.visibleNames(r) {
			row, err := d.find(ctx, r, name, id)
			if err == nil {
				return d.requestView(ctx, r, row)
			}
			if !isNotFound(err) {
				return nil, err
			}
		}
	}
	s := &searchPage{Name: query}
	if check.Mailbox(query) == nil {
		for _, name := range d.visibleNames(r) {
			if d.allowed(r, View, name, query) {
				rows, err := d.glance(ctx, name, []string{query})
				s.Rows, v.Trouble = append(s.Rows, rows...), cmp.Or(v.Trouble, err)
			}
		}
	}
	v.Data = s
	return v, nil
}

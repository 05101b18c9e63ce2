package dashboard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

//go:embed pages assets
var files embed.FS

// assets are the files that every page loads, by the last segment of their path.
var assets = map[string]string{"style.css": "assets/style.css", "live.js": "assets/live.js",
	"icon.svg": "assets/icon.svg"}

// version is a hash of the assets, so that browsers may cache them.
var version = func() string {
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(assets)) {
		content, err := files.ReadFile(assets[name])
		if err != nil {
			panic(err) // it is embedded
		}
		all = append(all, content...)
	}
	return fmt.Sprintf("%x", sha256.Sum256(all))[:12]
}()

// view is a page that is ready to render.
type view struct {
	Title string
	Page  string        // the name of its template
	Live  string        // the link to its events; "" if it is not live
	Quiet time.Duration // after so much time without an event it is not live any more
	Query string        // the text in the search box
	Data  any

	Trouble error // why a part of the page cannot be shown, for the log
}

// pages has the function that loads each page, by the last segment of its path.
var pages map[string]func(*Dashboard, context.Context, *http.Request) (*view, error)

func init() {
	pages = map[string]func(*Dashboard, context.Context, *http.Request) (*view, error){
		"": (*Dashboard).overview, "mailbox": (*Dashboard).mailbox, "request": (*Dashboard).request,
		"search": (*Dashboard).search, "cancel": (*Dashboard).confirm}
}

var templates = func() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(functions).ParseFS(files, "pages/layout.html"))
	all := map[string]*template.Template{}
	for _, name := range []string{"overview", "mailbox", "request", "search", "cancel", "message"} {
		all[name] = template.Must(template.Must(base.Clone()).ParseFS(files, "pages/"+name+".html"))
	}
	return all
}()

// message is a page with nothing but a text.
type message struct{ Heading, Text string }

var (
	missing = message{"Not found", "This page does not exist, or you may not see it. " +
		"A request disappears some time after it has ended."}
	foreign = message{"Refused", "Your browser reports that another site sent this form. " +
		"Nothing was changed. Open the request here and try again."}
	unexplained = message{"Give a reason", "A cancel needs a reason, so that the requester and " +
		"the worker know why. Nothing was changed. Go back and write one."}
	slow = message{"No answer in time", "The storage backend did not answer in time. " +
		"If you tried to cancel a request, look at its page: it may be cancelled. " +
		"Otherwise try again in a moment."}
	failed = message{"The backend failed", "The storage backend returned an error. " +
		"The log of this server has the error. Try again in a moment."}
	damaged = message{"This request cannot be read", "Its stored record is damaged, or a node of " +
		"another version wrote it. The log of this server has the error."}
)

// page loads and renders a page, or renders the reason why it cannot be loaded.
func (d *Dashboard) page(w http.ResponseWriter, r *http.Request,
	load func(*Dashboard, context.Context, *http.Request) (*view, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), d.config.Timeout)
	defer cancel()
	v, err := load(d, ctx, r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	d.logFailure(r, v.Trouble)
	d.render(w, http.StatusOK, v)
}

// refuse answers an HTTP request that failed. An address of somebody's own making is not found.
func (d *Dashboard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, backends.ErrNotFound) || errors.Is(err, pending.ErrInvalid) {
		d.notFound(w)
		return
	}
	d.logFailure(r, err)
	status, says := http.StatusServiceUnavailable, failed
	switch {
	case isDamaged(err):
		status, says = http.StatusInternalServerError, damaged
	case errors.Is(err, context.DeadlineExceeded):
		says = slow
	}
	d.say(w, status, says)
}

// isDamaged reports whether the record of a request cannot be read: another try does not help.
func isDamaged(err error) bool {
	return errors.As(err, new(*backends.CorruptError)) || errors.As(err, new(*pending.DecodeError))
}

// logFailure logs why a page or a part of it cannot be loaded, if there is an error and the browser
// has not left.
func (d *Dashboard) logFailure(r *http.Request, err error) {
	if err != nil && r.Context().Err() == nil {
		d.config.Logger.LogAttrs(r.Context(), slog.LevelWarn, "dashboard: page failed",
			slog.String("path", r.URL.Path), slog.Any("error", err))
	}
}

// notFound answers for missing pages and for hidden pages alike.
func (d *Dashboard) notFound(w http.ResponseWriter) { d.say(w, http.StatusNotFound, missing) }

func (d *Dashboard) say(w http.ResponseWriter, status int, says message) {
	d.render(w, status, &view{Title: says.Heading, Page: "message", Data: says})
}

func (d *Dashboard) render(w http.ResponseWriter, status int, v *view) {
	v.Quiet = 3 * (d.config.Refresh + d.config.Timeout)
	var page bytes.Buffer
	if err := templates[v.Page].ExecuteTemplate(&page, "layout", v); err != nil {
		d.config.Logger.Error("dashboard: render", "page", v.Page, "error", err)
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(page.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

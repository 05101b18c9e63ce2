package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"regexp"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/internal/wake"
)

const (
	streamLife = 10 * time.Minute       // then the browser reconnects, perhaps to another node
	streamGap  = 250 * time.Millisecond // the least time between two updates
	writeTime  = 10 * time.Second       // how long the browser may take to read an update
)

// stream is a live page: an event stream of one browser.
type stream struct {
	*Dashboard
	w    http.ResponseWriter
	r    *http.Request
	page string
	sent []byte // the last update, without the parts that moving matches

	failing, lacking bool // the last page, or a part of it, could not be loaded
}

// events serves the live updates of a page. Each is the page's main part as HTML.
func (d *Dashboard) events(w http.ResponseWriter, r *http.Request) {
	page := param(r, "page")
	if page != "overview" && page != "mailbox" && page != "request" {
		d.notFound(w)
		return
	}
	defer d.streams.Add(-1)
	if d.streams.Add(1) > int64(d.config.MaxStreams) || d.draining.Err() != nil {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "Too many pages are live, or this node is shutting down.",
			http.StatusServiceUnavailable)
		return
	}
	s := &stream{Dashboard: d, w: w, r: r, page: page}
	if page == "overview" {
		s.page = ""
	}
	v, err := s.load()
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for nginx
	s.follow(v)
}

func (s *stream) load() (*view, error) {
	ctx, cancel := context.WithTimeout(s.r.Context(), s.config.Timeout)
	defer cancel()
	if !s.allowed(s.r, View, "", "") { // the person may have lost access since
		return nil, backends.ErrNotFound
	}
	return pages[s.page](s.Dashboard, ctx, s.r)
}

// follow sends the page again after each change, until the browser leaves or nothing can change.
func (s *stream) follow(v *view) {
	ctx, cancel := context.WithTimeout(s.r.Context(), streamLife)
	defer cancel()
	defer context.AfterFunc(s.draining, cancel)()
	w := s.watch(ctx)
	defer w.Stop()
	var err error
	for {
		final := err == nil && isFinal(v)
		switch {
		case isNotFound(err):
			_ = s.send("gone", []byte(missing.Text))
			return
		case err != nil:
			s.log(&s.failing, err)
			s.sent = nil // then the next page is sent, even if it has not changed
			err = s.send("trouble", []byte("The page cannot be read now. Trying again."))
		default:
			s.log(&s.failing, nil)
			s.log(&s.lacking, v.Trouble)
			err = s.update(v)
		}
		if err != nil {
			return
		}
		if final {
			_ = s.send("final", []byte("-"))
			return
		}
		if cmp.Or(poll.Sleep(ctx, streamGap), w.Wait(ctx, s.config.Refresh)) != nil {
			return
		}
		v, err = s.load()
	}
}

// log logs the first of several errors of a kind in a row. Before: there was one.
func (s *stream) log(before *bool, err error) {
	if !*before {
		s.logFailure(s.r, err)
	}
	*before = err != nil
}

// isFinal reports whether a page can no longer change, because it shows an ended request.
func isFinal(v *view) bool {
	p, ok := v.Data.(*requestPage)
	return ok && p.Ended()
}

// watch watches a mailbox or a request. On other pages, and if the backend is not a Waker, there is
// no signal.
func (s *stream) watch(ctx context.Context) wake.Watcher {
	w := wake.Watcher{Stop: func() {}}
	switch s.page {
	case "mailbox":
		w = wake.Watch(ctx, s.backend, param(s.r, "name"), backends.Waker.WatchMailbox)
	case "request":
		w = wake.Watch(ctx, s.backend, param(s.r, "id"), backends.Waker.WatchRequest)
	}
	w.Poll = nil // Config.Refresh decides
	return w
}

// moving matches the parts of a page that its script updates by itself: times and progress bars.
var moving = regexp.MustCompile(`(data-ms|value)="\d+"|>[^<]*</time>`)

// update sends the page if it has changed. Otherwise it sends the event "still": so the browser
// hears that the page is live, and the handler notices a browser that has left.
func (s *stream) update(v *view) error {
	var body bytes.Buffer
	if err := templates[v.Page].ExecuteTemplate(&body, "content", v.Data); err != nil {
		return err
	}
	still := moving.ReplaceAll(body.Bytes(), nil)
	if bytes.Equal(still, s.sent) {
		return s.send("still", []byte("-"))
	}
	s.sent = still
	return s.send("page", body.Bytes())
}

// send sends an event.
func (s *stream) send(name string, data []byte) error {
	data = bytes.ReplaceAll(data, []byte("\r"), nil)
	data = bytes.ReplaceAll(data, []byte("\n"), []byte("\ndata: "))
	message := []byte("event: " + name + "\ndata: " + string(data) + "\n\n")
	control := http.NewResponseController(s.w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // some writers do not support it
	if _, err := s.w.Write(message); err != nil {
		return err
	}
	err := control.Flush()
	_ = control.SetReadDeadline(time.Time{})  // net/http has read the body, if there was one
	_ = control.SetWriteDeadline(time.Time{}) // HTTP/2 resets even an idle stream at its deadline
	return err
}

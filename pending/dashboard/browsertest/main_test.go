package browsertest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/dashboard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(closing{m}) }

// closing closes the browser after the tests.
type closing struct{ *testing.M }

func (m closing) Run() int {
	code := m.M.Run()
	endBrowser()
	return code
}

var endBrowser = func() {}

// browser starts the browser that all tests share. Each test has a tab of its own.
var browser = sync.OnceValues(func() (context.Context, error) {
	flags := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(patience), chromedp.WindowSize(1200, 860))
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), flags...)
	ctx, end := chromedp.NewContext(allocator)
	endBrowser = func() {
		_ = chromedp.Cancel(ctx)
		end()
		endAllocator()
	}
	return ctx, chromedp.Run(ctx)
})

// RequireEnv names an environment variable. If it is set, these tests fail without Chromium.
// Otherwise they skip.
const RequireEnv = "PENDINGQ_REQUIRE_CHROMIUM"

// patience is how long a test may wait for the browser. A loaded machine is slow.
const patience = 90 * time.Second

// chromium is the path of Chromium, or "".
var chromium = func() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}()

// needChromium skips the test, or fails it, if there is no Chromium.
func needChromium(t *testing.T) {
	t.Helper()
	switch {
	case chromium != "":
	case os.Getenv(RequireEnv) != "":
		t.Fatalf("%s is set, but no chromium is on PATH", RequireEnv)
	default:
		t.Skip("no chromium on PATH: install Debian's package chromium")
	}
}

type backup struct {
	Volume, Target string
	Token          string `json:",omitempty"`
	Copied         string `json:",omitempty"`
}

// world is a browser tab on a dashboard over memory.
type world struct {
	*testing.T
	tab     context.Context
	base    string // the dashboard, under a prefix
	backups *pending.PendingStore[backup]
	reboots *pending.PendingStore[backup]
	log     *lines
	drop    func()      // closes the connections of the browser
	busy    atomic.Bool // the server answers 503
	mute    atomic.Bool // the server's writes are lost
	mu      sync.Mutex
	noise   []string // dialogs, exceptions and complaints of the browser
}

// lines is a log that several goroutines may write and read.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

// open opens a tab. Before are actions for the new tab.
func open(t *testing.T, before ...chromedp.Action) *world {
	t.Helper()
	needChromium(t)
	w := &world{T: t, log: &lines{}}
	w.serve()
	all, err := browser()
	w.must(err)
	tab, endTab := chromedp.NewContext(all)
	t.Cleanup(func() {
		endTab()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, noise := range w.noise {
			t.Errorf("the browser says: %s", noise)
		}
	})
	w.tab = tab
	chromedp.ListenTarget(tab, w.hear)
	w.must(chromedp.Run(tab)) // opens the tab, which would end with a shorter context
	w.run(append([]chromedp.Action{log.Enable(), runtime.Enable(), page.BringToFront()},
		before...)...)
	return w
}

// hear notes dialogs, exceptions and violations of the policy. Each of them fails the test.
func (w *world) hear(event any) {
	var noise string
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		noise = "dialog: " + e.Message
	case *runtime.EventExceptionThrown:
		noise = e.ExceptionDetails.Error()
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError {
			noise = e.Entry.Text + " " + e.Entry.URL
		}
	}
	if noise != "" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.noise = append(w.noise, noise)
	}
}

// serve serves a dashboard with two stores.
func (w *world) serve() {
	b := dashboard.Observe(memory.New())
	policies := []pending.Policy{
		{Name: "backup", PendingTimeout: 10 * time.Minute, RunningTimeout: 2 * time.Minute,
			Retention: time.Hour, MaxAttempts: 3, CancelGrace: 30 * time.Second},
		{Name: "reboot", PendingTimeout: time.Minute, RunningTimeout: 5 * time.Minute,
			Retention: time.Hour},
	}
	var stores []*pending.PendingStore[backup]
	config := dashboard.Config{Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		Refresh: 200 * time.Millisecond, Timeout: 2 * time.Second,
		Access: func(*http.Request, dashboard.Action, string, string) (string, bool) {
			return "alice", true
		}}
	for _, p := range policies {
		s, err := pending.New(b, codec.JSON[backup](), p)
		w.must(err)
		stores = append(stores, s)
		config.Stores = append(config.Stores, dashboard.Store{Policy: p,
			Payload: dashboard.Show(s, func(b backup) any {
				if b.Token != "" {
					b.Token = "(hidden)"
				}
				return b
			})})
	}
	w.backups, w.reboots = stores[0], stores[1]
	d, err := dashboard.New(b, config)
	w.must(err)
	mux := http.NewServeMux()
	mux.HandleFunc("/ops/", func(answer http.ResponseWriter, r *http.Request) {
		if w.busy.Load() {
			answer.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		d.ServeHTTP(&mutable{answer, &w.mute}, r)
	})
	server := httptest.NewServer(mux)
	w.base, w.drop = server.URL+"/ops/", server.CloseClientConnections
	w.Cleanup(func() {
		d.Drain()
		server.Close()
	})
}

// mutable is a ResponseWriter whose writes are lost while mute is set, as on a dead connection.
type mutable struct {
	http.ResponseWriter
	mute *atomic.Bool
}

func (m *mutable) Write(p []byte) (int, error) {
	if m.mute.Load() {
		return len(p), nil
	}
	return m.ResponseWriter.Write(p)
}

func (m *mutable) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// run runs actions in the tab.
func (w *world) run(actions ...chromedp.Action) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.tab, patience)
	defer cancel()
	w.must(chromedp.Run(ctx, actions...))
}

// visit opens a page of the dashboard.
func (w *world) visit(path string) {
	w.Helper()
	w.run(chromedp.Navigate(w.base+path), chromedp.WaitReady("main h1", chromedp.ByQuery))
}

// says waits until the page shows a text.
func (w *world) says(text string) {
	w.Helper()
	w.until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// until waits until an expression is true in the page. Errors do not count: the browser may be
// between two pages.
func (w *world) until(expression string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.tab, patience)
	defer cancel()
	for {
		var is bool
		err := chromedp.Run(ctx, chromedp.Evaluate("!!(document.body && ("+expression+"))", &is))
		if err == nil && is {
			return
		}
		select {
		case <-ctx.Done():
			w.Fatalf("waited for %s: %v", expression, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// value evaluates an expression in the page.
func value[V any](w *world, expression string) (v V) {
	w.Helper()
	w.run(chromedp.Evaluate(expression, &v))
	return v
}

// follow clicks on a link with this text, and waits for a heading. Until a page is complete, its
// style sheet may still move the link.
func (w *world) follow(text, heading string) {
	w.Helper()
	link := fmt.Sprintf("[...document.links].find((a) => a.innerText.includes(%q))", text)
	w.until("document.readyState === 'complete' && " + link)
	place := value[[]float64](w, `(() => {
		const link = `+link+`;
		link.scrollIntoView({ block: "center" });
		const { left, top } = link.getClientRects()[0];
		return [left + 5, top + 5];
	})()`)
	w.run(chromedp.MouseClickXY(place[0], place[1]))
	w.until(fmt.Sprintf("document.querySelector('h1')?.innerText.includes(%q)", heading))
}

func (w *world) create(mailbox string) *pending.Request[backup] {
	w.Helper()
	r, err := w.backups.Create(context.Background(), mailbox,
		backup{Volume: "/var/lib/app", Target: "vault-2", Token: "hunter2"},
		pending.WithHeaders(map[string]string{"tenant": "acme"}))
	w.must(err)
	return r
}

func (w *world) pop(mailbox string) *pending.Claim[backup] {
	w.Helper()
	c, err := w.backups.PopPending(context.Background(), mailbox)
	w.must(err)
	return c
}

func pageOf(r *pending.Request[backup]) string { return "request?store=backup&id=" + r.ID }

// dark and phone change how the tab shows pages.
func dark() chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: "dark"}})
}

func light() chromedp.Action {
	return emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: "light"}})
}

func phone() chromedp.Action {
	return chromedp.EmulateViewport(360, 740, chromedp.EmulateScale(2), chromedp.EmulateMobile)
}

// everyPage fills the stores and returns the paths of pages in all their states.
func (w *world) everyPage() []string {
	ctx := context.Background()
	waiting, running, stopping := w.create("device-1"), w.create("device-2"), w.create("device-2")
	w.pop("device-2")
	w.pop("device-2")
	w.must(w.backups.Cancel(ctx, stopping, "the volume moves to another host"))
	failed, done, again := w.create("device-3"), w.create("device-4"), w.create("device-5")
	w.must(w.backups.Fail(ctx, w.pop("device-3"), "the disk is full: "+strings.Repeat("x", 300)))
	w.must(w.backups.Complete(ctx, w.pop("device-4")))
	w.must(w.backups.Release(ctx, w.pop("device-5"), 0))
	long := strings.Repeat("a-very-long-mailbox-name-", 20)
	w.create(long)
	paths := []string{"", "?store=reboot", "mailbox?store=backup&name=device-2",
		"mailbox?store=backup&name=nobody", "mailbox?store=backup&name=" + long,
		"search?q=device-2", "search?q=nobody", "search", "nonsense",
		"cancel?store=backup&id=" + waiting.ID, "cancel?store=backup&id=" + done.ID}
	for _, r := range []*pending.Request[backup]{waiting, running, stopping, failed, done, again} {
		paths = append(paths, pageOf(r))
	}
	return paths
}

package skillshttp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/unsent/unsenttest"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

func TestAHeldGetIsAnsweredWhenTheRequestEnds(t *testing.T) {
	w := newWorld(t)
	id := w.ask("/ping", "")
	answered := make(chan reply, 1)
	go func() { answered <- w.read("/ping", id+"?wait=50s") }()
	w.report("/ping", id, `{"status":"completed","output":"up"}`)
	w.want("held", <-answered, 200, `"status":"completed"`, `"output":"up"`)
}

func TestAHeldGetIsAnsweredWhenItsWaitIsOver(t *testing.T) {
	w := newWorld(t)
	id := w.ask("/ping", "")
	w.want("held", w.read("/ping", id+"?wait=10ms"), 200, `"status":"pending"`)
	w.want("no wait", w.read("/ping", id+"?wait=0s"), 200, `"status":"pending"`)
	w.want("an unknown request", w.read("/ping", "1?wait=1s"), 404)
	for _, wait := range []string{"x", "-1s", "5"} {
		w.want(wait, w.read("/ping", id+"?wait="+wait), 400)
	}
}

func TestAHeldHeartbeatBringsWorkAsItComes(t *testing.T) {
	w := newWorld(t)
	answered := make(chan reply, 1)
	go func() { answered <- w.heldHeartbeat("50s") }()
	id := w.ask("/ping", "")
	w.want("held", <-answered, 200, id)
	w.want("idle", w.heldHeartbeat("10ms"), 200, `{"status":"ok"}`)
}

// hold sends a request that is held until the handler drains.
func (w *world) hold(held *sync.WaitGroup, as, method, path, body string) {
	held.Go(func() { w.want("drained", w.send(as, method, path, body), 200) })
}

func TestParkedWaitsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.MaxRuntimeWaits, c.MaxWaits = 2, 3 })
	path := api + "/ping/" + w.ask("/ping", "")
	phones, err := w.stores.Pings.Create(t.Context(), phone, skills.Ping{})
	if err != nil {
		t.Fatal(err)
	}
	var held sync.WaitGroup
	defer held.Wait()
	defer w.handler.Drain()
	for i, tc := range []struct{ as, path, full string }{
		{"owner", path, "a user may hold half of a runtime's waits"},
		{"member", path, "a runtime may hold two waits"},
		{"owner", "/api/runtimes/phone/ping/" + phones.ID, "a node may hold three waits"},
	} {
		w.hold(&held, tc.as, "GET", tc.path+"?wait=50s", "")
		w.parked("the GET is parked", i+1)
		r := w.send(tc.as, "GET", tc.path+"?wait=1s", "")
		w.want(tc.full, r, 429, `"code":"too_many_waits"`)
		if r.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", tc.full)
		}
	}
	w.want("without a wait", w.send("owner", "GET", path, ""), 200)
}

func TestParkedGETsDoNotStarveADaemon(t *testing.T) {
	w := newWorld(t)
	path := api + "/local-skills/" + w.ask("/local-skills", "")
	w.heartbeat(beat)
	var held sync.WaitGroup
	defer held.Wait()
	defer w.handler.Drain()
	for i := range 120 {
		user := []string{"owner", "member", "admin"}[i%3]
		held.Go(func() { w.send(user, "GET", path+"?wait=50s", "") })
	}
	w.parked("the runtime holds as many GETs as it may", 100)
	answered := make(chan reply, 1)
	go func() { answered <- w.heldHeartbeat("50s") }()
	w.parked("the heartbeat is held, too", 101)
	id := w.ask("/ping", "")
	w.want("held", <-answered, 200, id)
	w.want("reported", w.report("/ping", id, `{"status":"completed","output":"up"}`), 200)
	w.want("read", w.read("/ping", id), 200, `"output":"up"`)
}

func TestAHeartbeatOverTheLimitClaimsAtOnce(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.MaxRuntimeWaits = 1 })
	var held sync.WaitGroup
	defer held.Wait()
	defer w.handler.Drain()
	w.hold(&held, "daemon-"+laptop, "POST", heartbeatPath+"?wait=50s", beat)
	w.parked("the first heartbeat is parked", 1)
	w.want("another", w.heldHeartbeat("50s"), 200, `{"status":"ok"}`)
}

func TestDrainingAnswersParkedRequests(t *testing.T) {
	w := newWorld(t)
	id := w.ask("/ping", "")
	answered := make(chan reply, 2)
	go func() { answered <- w.read("/ping", id+"?wait=50s") }()
	go func() {
		answered <- w.send("daemon-"+phone, "POST", heartbeatPath+"?wait=50s",
			`{"runtime_id":"`+phone+`"}`)
	}()
	w.parked("the GET and the heartbeat are parked", 2)
	w.handler.Drain()
	w.want("one", <-answered, 200)
	w.want("the other", <-answered, 200)
	w.want("a new wait", w.read("/ping", id+"?wait=50s"), 200, `"status":"pending"`)
}

func TestABodyThatDoesNotComeIsRefused(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.BodyTimeout = time.Second })
	id := w.ask("/ping", "")
	request := "POST " + resultPath(laptop, "/ping", id) + " HTTP/1.1\r\nHost: x\r\n" +
		"Authorization: Bearer daemon-" + laptop + "\r\nContent-Length: 100\r\n\r\n{"
	r := w.raw(request)
	w.want("the report", r, 503, "did not arrive in time") // a daemon does not retry after a 4xx
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.want("the request", w.read("/ping", id), 200, `"status":"pending"`)
}

func TestAnEndlessBodyIsCutOff(t *testing.T) {
	w := newWorld(t)
	endless, stop := io.Pipe()
	defer stop.Close()
	go func() {
		for {
			if _, err := stop.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", w.url+api+"/update", endless)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer owner")
	defer http.DefaultClient.CloseIdleConnections()
	// An error means that the server reset the connection while the client was writing.
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		if resp.StatusCode != 413 {
			t.Errorf("an endless body: got %d, want 413", resp.StatusCode)
		}
	} else if ctx.Err() != nil {
		t.Errorf("an endless body was read for a minute")
	}
}

func TestAConnectionThatIsKeptAliveKeepsNoDeadline(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{api + "/ping", "/unknown"} {
		d := unsenttest.NewRecorder()
		d.WriteBy = time.Now()
		r := httptest.NewRequest("POST", path, nil)
		r.Header.Set("Authorization", "Bearer owner")
		if w.handler.ServeHTTP(d, r); !d.WriteBy.IsZero() || !d.Flushed {
			t.Errorf("%s leaves the write deadline %v; flushed: %v", path, d.WriteBy, d.Flushed)
		}
	}
}

// ServeMux answers such a request with a redirect. Before that, net/http reads the body.
func TestABodyOfARedirectHasADeadline(t *testing.T) {
	w := newWorld(t)
	d := unsenttest.NewRecorder()
	w.handler.ServeHTTP(d, httptest.NewRequest("POST", "//api/x", strings.NewReader("body")))
	if d.Code != http.StatusTemporaryRedirect || d.ReadBy.IsZero() {
		t.Errorf("got %d, read deadline %v", d.Code, d.ReadBy)
	}
}

// raw sends the bytes of a request over a new connection and reads the answer.
func (w *world) raw(request string) reply {
	w.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(request)); err != nil {
		w.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		w.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func TestTheServerLimitsHeaders(t *testing.T) {
	w := newWorld(t)
	server := skillshttp.NewServer("localhost:0", w.handler)
	if server.ReadHeaderTimeout <= 0 || server.MaxHeaderBytes <= 0 || server.IdleTimeout <= 0 {
		t.Errorf("the server has no limits: %+v", server)
	}
	if server.Addr != "localhost:0" {
		t.Errorf("the address is %s, want localhost:0", server.Addr)
	}
	// A timeout for the whole request would cut off waits.
	if server.ReadTimeout != 0 || server.WriteTimeout != 0 {
		t.Errorf("timeouts that cut off waits: read %v, write %v",
			server.ReadTimeout, server.WriteTimeout)
	}
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	w := newWorld(t)
	required := skillshttp.Config{Stores: w.stores, Access: access{}, Library: w.library}
	for _, tc := range []struct {
		says  string
		spoil func(*skillshttp.Config)
	}{
		{"Stores", func(c *skillshttp.Config) { c.Stores = nil }},
		{"Access", func(c *skillshttp.Config) { c.Access = nil }},
		{"Library", func(c *skillshttp.Config) { c.Library = nil }},
		{"negative", func(c *skillshttp.Config) { c.MaxWaits = -1 }},
		{"negative", func(c *skillshttp.Config) { c.MaxRuntimeWaits = -1 }},
		{"negative", func(c *skillshttp.Config) { c.MaxCallerWaits = -1 }},
		{"negative", func(c *skillshttp.Config) { c.MaxBody = -1 }},
		{"negative", func(c *skillshttp.Config) { c.MaxBytes = -1 }},
		{"negative", func(c *skillshttp.Config) { c.BodyTimeout = -1 }},
		{"negative", func(c *skillshttp.Config) { c.HeartbeatTime = -1 }},
		{"negative", func(c *skillshttp.Config) { c.CallTime = -1 }},
	} {
		config := required
		tc.spoil(&config)
		if _, err := skillshttp.New(config); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("got %v, want an error with %q", err, tc.says)
		}
	}
	if _, err := skillshttp.New(required); err != nil {
		t.Errorf("with the required fields alone: %v", err)
	}
}

// One node holds ten thousand heartbeats. There is no network, so the memory is the node's alone.
func TestTenThousandParkedWaits(t *testing.T) { synctest.Test(t, testTenThousandParkedWaits) }

func testTenThousandParkedWaits(t *testing.T) {
	const n = 10_000
	stores, err := skills.New(memory.New())
	if err != nil {
		t.Fatal(err)
	}
	handler, err := skillshttp.New(skillshttp.Config{Stores: stores, Access: anyone{},
		Library: &library{}, Logger: slog.New(slog.DiscardHandler), HeartbeatTime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	before := heapInUse()
	var held sync.WaitGroup
	statuses := make([]int, n)
	for i := range n {
		held.Go(func() {
			body := strings.NewReader(fmt.Sprintf(`{"runtime_id":"runtime-%d"}`, i))
			r := httptest.NewRequest("POST", heartbeatPath+"?wait=50s", body)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			statuses[i] = w.Code
		})
	}
	synctest.Wait()
	t.Logf("%d parked waits take %d KiB each", handler.Parked(), (heapInUse()-before)/n/1024)
	if handler.Parked() != n {
		t.Errorf("%d of %d waits are parked", handler.Parked(), n)
	}
	handler.Drain()
	held.Wait()
	refused := func(status int) bool { return status != http.StatusOK }
	if i := slices.IndexFunc(statuses, refused); i >= 0 {
		t.Errorf("wait %d was answered %d", i, statuses[i])
	}
	if handler.Parked() != 0 {
		t.Errorf("%d waits are still counted as parked", handler.Parked())
	}
}

// anyone accepts every caller.
type anyone struct{}

func (anyone) Requester(*http.Request, string) (skillshttp.Requester, error) {
	return skillshttp.Requester{Role: skillshttp.RoleOwner}, nil
}

func (anyone) Daemon(*http.Request, string) (bool, error) { return true, nil }

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

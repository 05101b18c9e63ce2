package remote_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/pending"
)

func TestMain(m *testing.M) {
	effort.Parallel(4)
	goleak.VerifyTestMain(m)
}

// policy is one under which nothing times out while a test runs.
func policy(name string) pending.Policy {
	return pending.Policy{Name: name, PendingTimeout: time.Hour, RunningTimeout: time.Hour,
		Retention: time.Hour, MaxPayload: 1 << 20}
}

func terms(name string) backends.Terms {
	return backends.Terms{Store: name, PendingTimeout: time.Hour, RunningTimeout: time.Hour,
		Retention: time.Hour, MaxAttempts: 1}
}

const box = "device-7" // the mailbox of tests that need only one

// everything lets each caller with a token do everything, under the name of the token.
type everything struct{}

func (everything) Caller(r *http.Request) (string, error) {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), nil
}

func (everything) Allow(*http.Request, string, remote.Action, string, string) (bool, error) {
	return true, nil
}

// rig is a server over a backend, and a client of it.
type rig struct {
	*testing.T
	url    string
	server *remote.Server
	client *remote.Client
}

// newRig serves a backend with stores s and t. Change may change the configuration.
func newRig(t *testing.T, b backends.Backend, change func(*remote.Config)) *rig {
	t.Helper()
	r := &rig{T: t}
	stores := []pending.Policy{policy("s"), policy("t")}
	config := remote.Config{Stores: stores, Access: everything{}, Logger: quiet}
	if change != nil {
		change(&config)
	}
	var err error
	if r.server, err = remote.Handler(b, config); err != nil {
		t.Fatal(err)
	}
	r.url = serve(t, r.server)
	r.client = newClient(t, r.url, "tester")
	return r
}

// serve serves a handler on loopback, below a path, until the test ends.
func serve(t testing.TB, h http.Handler) (url string) {
	mux := http.NewServeMux()
	mux.Handle("/pending/", http.StripPrefix("/pending", h))
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL + "/pending"
}

func newClient(t testing.TB, url, token string) *remote.Client {
	t.Helper()
	return clientWith(t, url, &remote.Options{Token: token, Logger: quiet})
}

func clientWith(t testing.TB, url string, o *remote.Options) *remote.Client {
	t.Helper()
	c, err := remote.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func question(store string) backends.Create {
	return backends.Create{Terms: terms(store), ID: backends.NewID(box), Mailbox: box,
		Codec: "json", Payload: []byte(`{"what":"reboot"}`)}
}

func poll(stores ...string) backends.Claim {
	c := backends.Claim{ID: backends.NewID(box), Mailbox: box}
	for _, store := range stores {
		c.From = append(c.From, backends.From{Terms: terms(store), Limit: 1})
	}
	return c
}

func completion(store string, rec backends.Record) backends.End {
	return backends.End{Terms: terms(store), ID: rec.ID, Mailbox: rec.Mailbox, Attempt: rec.Attempt,
		Outcome: backends.StatusCompleted, Codec: "json", Payload: []byte(`{"answer":42}`)}
}

// create stores a new request in store s.
func (r *rig) create() backends.Record {
	r.Helper()
	rec, err := r.client.Create(r.Context(), question("s"))
	if err != nil {
		r.Fatal(err)
	}
	return rec
}

// running stores a request and claims it.
func (r *rig) running() backends.Record {
	r.Helper()
	r.create()
	claimed, err := r.client.Claim(r.Context(), poll("s"))
	if err != nil || len(claimed[0].Records) != 1 {
		r.Fatalf("claim: got %v, %v", claimed, err)
	}
	return claimed[0].Records[0]
}

// answer is the server's answer to an HTTP request made by hand.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends an HTTP request by hand.
func (r *rig) send(method, path, token, body string) answer {
	r.Helper()
	return r.sendReader(method, path, token, strings.NewReader(body))
}

func (r *rig) sendReader(method, path, token string, body io.Reader) answer {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, body)
	if err != nil {
		r.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	resp.Header.Del("Date")
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// code returns the error code of an answer.
func (a answer) code() string {
	var e struct{ Code string }
	_ = json.Unmarshal([]byte(a.body), &e)
	return e.Code
}

// signalled fails if no signal comes within a minute.
func (r *rig) signalled(signal <-chan struct{}) {
	r.Helper()
	select {
	case <-signal:
	case <-time.After(time.Minute):
		r.Fatal("gave up waiting for a signal")
	}
}

// until waits until a condition holds, and fails after a minute.
func (r *rig) until(what string, condition func() bool) {
	r.Helper()
	if !calls.Await(time.Minute, 2*time.Millisecond, condition) {
		r.Fatalf("gave up waiting until %s", what)
	}
}

func newMemory() backends.Backend { return memory.New() }

var quiet = slog.New(slog.DiscardHandler)

var errBroken = errors.New("dial tcp 10.0.0.1:6379: no route to host, password hunter2")

// lines is a log, a line at a time.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// Package openapitest checks openapi.yaml against the requests and answers of package remote's
// handler. It is a module of its own, so that users of pendingq do not get the validator.
package openapitest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const box = "device-7"

// access knows one token. Its owner may only read in the mailbox "locked", and do everything
// elsewhere.
type access struct{}

func (access) Caller(r *http.Request) (string, error) {
	if r.Header.Get("Authorization") != "Bearer token" {
		return "", nil
	}
	return "the tester", nil
}

func (access) Allow(_ *http.Request, _ string, a remote.Action, _, mailbox string) (bool, error) {
	return mailbox != "locked" || a == remote.ActionRead, nil
}

// faulty is a backend that fails for some mailboxes.
type faulty struct{ *memory.Backend }

func (f faulty) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	switch c.Mailbox {
	case "broken":
		return backends.Record{}, errors.New("broken")
	case "slow":
		<-ctx.Done()
		return backends.Record{}, ctx.Err()
	}
	return f.Backend.Create(ctx, c)
}

func (f faulty) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	damaged := &backends.CorruptError{ID: backends.NewID(box), Err: errors.New("no record")}
	switch c.Mailbox {
	case "broken":
		return nil, errors.New("broken")
	case "damaged":
		return []backends.Claimed{{Errs: []error{damaged, errors.New("wrong type")}}}, nil
	case "corrupt":
		return nil, damaged
	}
	return f.Backend.Claim(ctx, c)
}

// world is a server and the OpenAPI document that describes it.
type world struct {
	*testing.T
	url    string
	doc    *openapi3.T
	router routers.Router
	seen   map[string]bool // the operations that succeeded, and the error codes
}

func newWorld(t *testing.T) *world {
	t.Helper()
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, url: serve(t), doc: doc, seen: map[string]bool{}}
	doc.Servers = openapi3.Servers{{URL: w.url}}
	if w.router, err = legacy.NewRouter(doc); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve serves three stores on loopback until the test ends.
func serve(t *testing.T) string {
	t.Helper()
	policy := func(name string) pending.Policy {
		return pending.Policy{Name: name, PendingTimeout: time.Hour, RunningTimeout: time.Hour,
			Retention: time.Hour, MaxAttempts: 3, CancelGrace: time.Minute, MaxPayload: 1000}
	}
	stores := []pending.Policy{policy("s"), policy("exclusive"), policy("capped")}
	stores[1].Exclusive, stores[2].MaxPending = true, 1
	config := remote.Config{Stores: stores, Access: access{},
		Logger: slog.New(slog.DiscardHandler)}
	b := faulty{memory.New()}
	handler, err := remote.Handler(b, config)
	if err != nil {
		t.Fatal(err)
	}
	config.CallTimeout = time.Millisecond
	impatient, err := remote.Handler(b, config)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/pending/", http.StripPrefix("/pending",
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("mailbox") == "slow" {
				impatient.ServeHTTP(w, r)
				return
			}
			handler.ServeHTTP(w, r)
		})))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/pending"
}

// request makes the HTTP request of an exchange.
func (w *world) request(x exchange) *http.Request {
	w.Helper()
	body := strings.NewReader(x.body)
	r, err := http.NewRequestWithContext(w.Context(), x.method, w.url+x.path, body)
	if err != nil {
		w.Fatal(err)
	}
	if x.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if x.token == "" {
		r.Header.Set("Authorization", "Bearer token")
	}
	return r
}

// do sends a request, and checks the request and its answer against the document.
func (w *world) do(x exchange) (answer string) {
	w.Helper()
	input := w.checkRequest(w.request(x), x)
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(w.request(x))
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	if input != nil {
		w.checkResponse(resp, text, input)
	}
	var e struct{ Code string }
	if resp.StatusCode >= 400 {
		_ = json.Unmarshal(text, &e)
	}
	if e.Code != x.code {
		w.Errorf("%s %s %.80s: got code %q, want %q: %.200s",
			x.method, x.path, x.body, e.Code, x.code, text)
	}
	w.seen[e.Code] = true
	return string(text)
}

// checkRequest checks that the document accepts a request that the server accepts, and refuses one
// that the server refuses as invalid.
func (w *world) checkRequest(r *http.Request, x exchange) *openapi3filter.RequestValidationInput {
	w.Helper()
	route, params, err := w.router.FindRoute(r)
	if err != nil {
		w.Fatalf("%s %s is not in the document: %v", x.method, x.path, err)
	}
	if x.code == "" {
		w.seen[route.Operation.OperationID] = true
	}
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	err = openapi3filter.ValidateRequest(w.Context(), input)
	if refused := x.code == "invalid" && !x.beyond; (err != nil) != refused {
		w.Errorf("%s %s %.80s: the document says %v", x.method, x.path, x.body, err)
	}
	return input
}

func (w *world) checkResponse(
	resp *http.Response, text []byte, input *openapi3filter.RequestValidationInput) {
	w.Helper()
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input,
		Status: resp.StatusCode, Header: resp.Header, Options: input.Options}
	streamed := !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json")
	if streamed {
		withoutBody := *input.Options
		withoutBody.ExcludeResponseBody = true
		answer.Options = &withoutBody
		w.checkLines(input.Route.Operation, resp, text)
	}
	answer.SetBodyBytes(text)
	if err := openapi3filter.ValidateResponse(w.Context(), answer); err != nil {
		w.Errorf("%s %s: got %d %.300s: %v", input.Request.Method, input.Request.URL.Path,
			resp.StatusCode, text, err)
	}
}

// schemaOfLine is the schema of each line of the answer of an operation that streams.
var schemaOfLine = map[string]string{"events": "request", "watch": "event"}

// checkLines checks each line of a stream.
func (w *world) checkLines(op *openapi3.Operation, resp *http.Response, text []byte) {
	w.Helper()
	if resp.StatusCode == http.StatusNoContent {
		return
	}
	kind := resp.Header.Get("Content-Type")
	if op.Responses.Status(200).Value.Content[kind] == nil {
		w.Errorf("%s answers with %s, which the document does not name", op.OperationID, kind)
	}
	schema := schemaOfLine[op.OperationID]
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	checked := 0
	for lines.Scan() {
		line := lines.Text()
		if kind == "text/event-stream" {
			var data bool
			if line, data = strings.CutPrefix(line, "data: "); !data {
				continue
			}
		}
		var value any
		if err := json.Unmarshal([]byte(line), &value); err != nil {
			w.Fatalf("%s: %v", line, err)
		}
		if err := w.doc.Components.Schemas[schema].Value.VisitJSON(value); err != nil {
			w.Errorf("%s: %s: %v", op.OperationID, line, err)
		}
		checked++
	}
	if checked == 0 {
		w.Errorf("%s answered with no lines", op.OperationID)
	}
}

// create makes a request and returns its id.
func (w *world) create(store string) string {
	w.Helper()
	var rec struct{ ID string }
	text := w.do(post("/requests?store="+store+"&mailbox="+box,
		`{"codec":"json","payload":{"n":[1,null]},"headers":{"trace":"1"}}`))
	if err := json.Unmarshal([]byte(text), &rec); err != nil {
		w.Fatal(err)
	}
	return rec.ID
}

// claim claims the oldest request.
func (w *world) claim(store string) {
	w.Helper()
	w.do(post("/claim", claimBody(backends.NewID(box), box, `{"store":"`+store+`"}`)))
}

func TestTheDocumentDescribesTheServer(t *testing.T) {
	w := newWorld(t)
	for _, x := range successes(w.create("s")) {
		w.do(x)
	}
	w.claim("s")
}

func TestTheDocumentRefusesWhatTheServerRefuses(t *testing.T) {
	w := newWorld(t)
	for _, x := range mistakes(w.create("s")) {
		x.code = "invalid"
		w.do(x)
	}
}

func TestTheDocumentHasEveryError(t *testing.T) {
	w := newWorld(t)
	of, mailbox := actionsOn(w.create("s")), "&mailbox="+box
	end := post(of("/end"), `{"attempt":0,"outcome":"completed","codec":"json","payload":1}`)
	w.create("exclusive")
	w.create("capped")
	w.do(end)
	for code, x := range map[string]exchange{
		"unauthorized": {method: "GET", path: "/pending" + inBox, token: "none"},
		"forbidden":    post("/requests?store=s&mailbox=locked", `{}`),
		"not_found":    get(actionsOn(backends.NewID(box))("")),
		"ended":        end,
		"stale_claim":  post(actionsOn(w.create("s"))("/extend"), `{"attempt":1}`),
		"busy":         post("/requests?store=exclusive"+mailbox, `{}`),
		"full":         post("/requests?store=capped"+mailbox, `{}`),
		"too_large":    post("/requests"+inBox, `{"payload":"`+strings.Repeat("x", 1000)+`"}`),
		"internal":     post("/requests?store=s&mailbox=broken", `{}`),
		"unavailable":  post("/requests?store=s&mailbox=slow", `{}`),
		"corrupt":      post("/claim", claimBody("1", "corrupt", `{"store":"s"}`)),
	} {
		x.code = code
		w.do(x)
	}
	// Package remote tests the first three: they need a slow client or another configuration.
	// TestTheDocumentRefusesWhatTheServerRefuses has invalid.
	elsewhere := []string{"too_many", "slow_body", "unsupported", "invalid"}
	for _, code := range w.doc.Components.Schemas["error"].Value.Properties["code"].Value.Enum {
		if !w.seen[code.(string)] && !slices.Contains(elsewhere, code.(string)) {
			t.Errorf("no answer had the code %s", code)
		}
	}
}

func TestEveryOperationOfTheDocumentIsServed(t *testing.T) {
	w := newWorld(t)
	for path, item := range w.doc.Paths.Map() {
		for method, op := range item.Operations() {
			full := w.url + strings.ReplaceAll(path, "{id}", backends.NewID(box))
			r, err := http.NewRequestWithContext(t.Context(), method, full, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s, without a token: got %d, want 401", op.OperationID, resp.StatusCode)
			}
		}
	}
}

package skillshttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

func TestMain(m *testing.M) {
	if os.Getenv(hostileEnv) != "" {
		serveAlone()
	}
	goleak.VerifyTestMain(m)
}

const (
	laptop = "laptop"         // a runtime
	phone  = "phone"          // another runtime
	gone   = "deleted-laptop" // a deleted runtime
)

// access accepts a user's name as the user's bearer token, and "daemon-" with a runtime's id as the
// token of its daemon.
type access struct{}

func token(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (access) Requester(r *http.Request, runtimeID string) (skillshttp.Requester, error) {
	roles := map[string]skillshttp.Role{
		"owner":  skillshttp.RoleOwner,
		"admin":  skillshttp.RoleAdmin,
		"member": skillshttp.RoleMember, "initiator": skillshttp.RoleMember,
	}
	if runtimeID == "broken" {
		return skillshttp.Requester{}, errors.New("secret: the directory is away")
	}
	who := skillshttp.Requester{UserID: token(r)}
	if runtimeID == laptop || runtimeID == phone && token(r) == "owner" {
		who.Role = roles[token(r)]
	}
	return who, nil
}

func (access) Daemon(r *http.Request, runtimeID string) (bool, error) {
	if token(r) == "daemon-"+gone && runtimeID == gone {
		return false, fmt.Errorf("look up %s: %w", runtimeID, skillshttp.ErrRuntimeGone)
	}
	return runtimeID != "" && token(r) == "daemon-"+runtimeID, nil
}

// presence has an offline switch for each runtime, and counts heartbeats.
type presence struct {
	mu      sync.Mutex
	offline map[string]bool
	seen    []string
}

func (p *presence) Seen(_ context.Context, runtimeID string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, runtimeID)
	return nil
}

func (p *presence) Online(_ context.Context, runtimeID string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.offline[runtimeID], nil
}

// library keeps skills in memory.
type library struct {
	mu        sync.Mutex
	byRequest map[string]skills.Skill
	err       error  // of each Save, if set
	afterSave func() // runs after each new save
}

var errNotTheCreator = fmt.Errorf(
	"%w: only its creator may overwrite a skill", skillshttp.ErrRefused)

func (l *library) Save(_ context.Context, s skillshttp.Save) (skills.Skill, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return skills.Skill{}, l.err
	}
	if saved, ok := l.byRequest[s.RequestID]; ok {
		return saved, nil
	}
	for _, other := range l.byRequest {
		switch {
		case s.Overwrite == other.ID && other.CreatedBy != s.CreatorID:
			return skills.Skill{}, errNotTheCreator
		case s.Overwrite == "" && other.Name == s.Name:
			return skills.Skill{}, &skillshttp.NameTakenError{Conflict: skills.Conflict{
				ExistingSkillID: other.ID, ExistingCreatedBy: other.CreatedBy,
				CanOverwrite: other.CreatedBy == s.CreatorID}}
		}
	}
	saved := skills.Skill{ID: uuid.NewString(), Name: s.Name, Description: s.Description,
		Content: s.Bundle.Content, CreatedBy: s.CreatorID, Config: json.RawMessage(`{"a":1}`)}
	if s.Overwrite != "" {
		saved.ID = s.Overwrite
	}
	for _, f := range s.Bundle.Files {
		saved.Files = append(saved.Files,
			skills.SkillFile{ID: uuid.NewString(), Path: f.Path, Content: f.Content})
	}
	l.byRequest[s.RequestID] = saved
	if l.afterSave != nil {
		l.afterSave()
	}
	return saved, nil
}

func (l *library) TakeBack(_ context.Context, requestID string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byRequest, requestID)
	return nil
}

// saved returns the number of saved skills.
func (l *library) saved() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byRequest)
}

// logbook collects log lines.
type logbook struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// world is a server with its stores, its library, its presence and its log.
type world struct {
	*testing.T
	stores   *skills.Stores
	handler  *skillshttp.Handler
	library  *library
	presence *presence
	log      *logbook
	url      string
}

func newWorld(t *testing.T, change ...func(*skillshttp.Config)) *world {
	return newWorldOn(t, memory.New(), change...)
}

func newWorldOn(t *testing.T, b backends.Backend, change ...func(*skillshttp.Config)) *world {
	t.Helper()
	stores, err := skills.New(b)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, stores: stores, library: &library{byRequest: map[string]skills.Skill{}},
		presence: &presence{offline: map[string]bool{}}, log: &logbook{}}
	debug := &slog.HandlerOptions{Level: slog.LevelDebug}
	config := skillshttp.Config{Stores: stores, Access: access{}, Presence: w.presence,
		Library: w.library, Logger: slog.New(slog.NewJSONHandler(w.log, debug))}
	for _, c := range change {
		c(&config)
	}
	w.handler, err = skillshttp.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	server.Config = skillshttp.NewServer("", w.handler)
	server.Start()
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// reply is an answer of the server.
type reply struct {
	status int
	header http.Header
	body   string
}

// fields returns the JSON object of the body.
func (r reply) fields() map[string]any {
	var fields map[string]any
	if json.Unmarshal([]byte(r.body), &fields) != nil {
		return nil
	}
	return fields
}

// text returns a field of the body that is a string.
func (r reply) text(field string) string {
	text, _ := r.fields()[field].(string)
	return text
}

// send sends a request with a bearer token, or with none if as is "".
func (w *world) send(as, method, path, body string) reply {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+as)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(answer)}
}

const api = "/api/runtimes/" + laptop

// ask creates a request as the owner and returns its id.
func (w *world) ask(path, body string) string {
	w.Helper()
	r := w.send("owner", "POST", api+path, body)
	if r.status != http.StatusOK || r.text("id") == "" {
		w.Fatalf("POST %s: %d %s", path, r.status, r.body)
	}
	return r.text("id")
}

// read reads a request as the owner.
func (w *world) read(path, id string) reply {
	w.Helper()
	return w.send("owner", "GET", api+path+"/"+id, "")
}

const heartbeatPath = "/api/daemon/heartbeat"

// heartbeat sends a heartbeat as the laptop's daemon.
func (w *world) heartbeat(body string) reply {
	w.Helper()
	return w.send("daemon-"+laptop, "POST", heartbeatPath, body)
}

// heldHeartbeat sends a heartbeat of the laptop that waits for work. Wait is a duration such as
// 50s.
func (w *world) heldHeartbeat(wait string) reply {
	w.Helper()
	return w.send("daemon-"+laptop, "POST", heartbeatPath+"?wait="+wait, beat)
}

const beat = `{"runtime_id":"laptop","supports_batch_import":true}`

// resultPath returns the path of a report.
func resultPath(runtimeID, path, id string) string {
	return "/api/daemon/runtimes/" + runtimeID + path + "/" + id + "/result"
}

// report reports on a request as the laptop's daemon.
func (w *world) report(path, id, body string) reply {
	w.Helper()
	return w.send("daemon-"+laptop, "POST", resultPath(laptop, path, id), body)
}

// want checks the status of an answer, and the texts that its body has to contain.
func (w *world) want(what string, r reply, status int, parts ...string) {
	w.Helper()
	if r.status != status {
		w.Errorf("%s: got status %d, want %d: %s", what, r.status, status, r.body)
	}
	for _, part := range parts {
		if !strings.Contains(r.body, part) {
			w.Errorf("%s: got %s, want it to contain %s", what, r.body, part)
		}
	}
}

// eventually polls a condition for up to a minute.
func (w *world) eventually(what string, condition func() bool) {
	w.Helper()
	if !calls.Await(time.Minute, 2*time.Millisecond, condition) {
		w.Fatalf("gave up waiting until %s", what)
	}
}

// parked waits until a number of requests is parked.
func (w *world) parked(what string, n int) {
	w.Helper()
	w.eventually(what, func() bool { return w.handler.Parked() == n })
}

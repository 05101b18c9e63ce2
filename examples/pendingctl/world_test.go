package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
	"github.com/pendingq/pendingq/skills/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// access takes a token for the role of its owner.
type access struct{}

func (access) Requester(r *http.Request, runtimeID string) (skillshttp.Requester, error) {
	roles := map[string]skillshttp.Role{
		"Bearer owner":  skillshttp.RoleOwner,
		"Bearer member": skillshttp.RoleMember,
	}
	if runtimeID != "laptop" {
		return skillshttp.Requester{}, nil
	}
	return skillshttp.Requester{UserID: "ada", Role: roles[r.Header.Get("Authorization")]}, nil
}

func (access) Daemon(*http.Request, string) (bool, error) { return true, nil }

// library keeps the id of each name.
type library struct {
	mu  sync.Mutex
	ids map[string]string
}

func (l *library) Save(_ context.Context, s skillshttp.Save) (skills.Skill, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id, taken := l.ids[s.Name]; taken && s.Overwrite == "" {
		conflict := skills.Conflict{ExistingSkillID: id, CanOverwrite: true}
		return skills.Skill{}, &skillshttp.NameTakenError{Conflict: conflict}
	}
	id := s.Overwrite
	if id == "" {
		id = uuid.NewString()
	}
	l.ids[s.Name] = id
	return skills.Skill{ID: id, Name: s.Name, Description: s.Description,
		Content: s.Bundle.Content}, nil
}

func (l *library) TakeBack(context.Context, string) error { return nil }

// presence says the same about every runtime.
type presence struct{ online bool }

func (p *presence) Seen(context.Context, string) error           { return nil }
func (p *presence) Online(context.Context, string) (bool, error) { return p.online, nil }

// world is an API node behind a filter.
type world struct {
	*testing.T
	url      string
	presence *presence

	// before gets each request of a front end first, and reports whether it has answered.
	before func(w http.ResponseWriter, r *http.Request) (done bool)
}

// newWorld makes a world behind a server on loopback.
func newWorld(t *testing.T) *world {
	t.Helper()
	w, handler := newNode(t)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// newNode makes a world without a server, and its handler.
func newNode(t *testing.T) (*world, http.Handler) {
	t.Helper()
	stores, err := skills.New(memory.New())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, presence: &presence{online: true}}
	handler, err := skillshttp.New(skillshttp.Config{
		Stores:   stores,
		Access:   access{},
		Presence: w.presence,
		Library:  &library{ids: map[string]string{}},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/runtimes/") && w.before != nil && w.before(rw, r) {
			return
		}
		handler.ServeHTTP(rw, r)
	})
}

// withDaemon adds a runtime that answers all requests. It cannot read skills whose keys start with
// "bad".
func (w *world) withDaemon() *world {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	d := &fakeDaemon{url: w.url, http: &http.Client{Transport: &http.Transport{}}}
	go func() {
		defer close(stopped)
		for ctx.Err() == nil {
			d.beat(ctx)
		}
	}()
	w.Cleanup(func() {
		cancel()
		<-stopped
		d.http.CloseIdleConnections()
	})
	return w
}

type fakeDaemon struct {
	url  string
	http *http.Client
}

func (d *fakeDaemon) post(ctx context.Context, path string, body, into any) {
	text, _ := json.Marshal(body)
	url := d.url + "/api/daemon" + path
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	response, err := d.http.Do(r)
	if err != nil {
		return
	}
	defer response.Body.Close()
	_ = json.NewDecoder(response.Body).Decode(into)
}

func (d *fakeDaemon) beat(ctx context.Context) {
	var a wire.Assignments
	beat := wire.Heartbeat{RuntimeID: "laptop", SupportsBatchImport: true}
	d.post(ctx, "/heartbeat?wait=10s", beat, &a)
	report := func(kind, id string, fields any) {
		d.post(ctx, fmt.Sprintf("/runtimes/laptop/%s/%s/result", kind, id), fields, new(any))
	}
	done := wire.Report{Status: "completed"}
	if a.List != nil {
		report("local-skills", a.List.ID, wire.ListReport{Report: done, List: skills.List{
			Skills: []skills.LocalSkill{{Key: "a", Name: "A skill",
				Description: strings.Repeat("long ", 50), Provider: "claude", FileCount: 2}},
			Omissions: skills.Omissions{LeftOutCount: 120, LeftOut: []skills.Omission{
				{Key: "a", Path: "~/s/a/logo.png", Reason: "not a text file"}}}}})
	}
	for _, i := range a.Imports {
		var answer any = wire.ImportReport{Report: done,
			Skill: &skills.Bundle{Name: i.SkillKey, Content: "c"}}
		if strings.HasPrefix(i.SkillKey, "bad") {
			answer = wire.Report{Status: "failed", Error: "no such\n\x1b[31mskill"}
		}
		report("local-skills/import", i.ID, answer)
	}
	if a.Ping != nil {
		report("ping", a.Ping.ID, wire.PingReport{Report: done,
			Ping: skills.Ping{Output: "fine\x1b[31m\u2028\u202e!", DurationMS: 7}})
	}
	if a.Update != nil {
		report("update", a.Update.ID, wire.UpdateReport{Report: done,
			Output: "now at " + a.Update.TargetVersion + "\n\tdone\x1b[31m"})
	}
	if a.ModelList != nil {
		report("models", a.ModelList.ID, wire.ModelListReport{Report: done,
			ModelList: skills.ModelList{
				Models: []skills.Model{{ID: "m", Label: "M", Default: true}}}})
	}
}

// result is the exit code and the outputs of a run of the program.
type result struct {
	code           int
	stdout, stderr string
}

// call runs the program with a command line, and checks that its outputs are harmless.
func (w *world) call(args ...string) result {
	w.Helper()
	r := w.callIn(w.Context(), args...)
	checkHarmless(w.T, r)
	return r
}

// checkHarmless checks that outputs do not control a terminal or hide characters.
func checkHarmless(t *testing.T, r result) {
	t.Helper()
	if text := r.stdout + r.stderr; printable(text) != text {
		t.Errorf("an output has control characters: %q", text)
	}
}

func (w *world) callIn(ctx context.Context, args ...string) result {
	return callWith(ctx, w.env(), surroundings{}, args...)
}

func (w *world) env() map[string]string {
	return map[string]string{"PENDINGCTL_SERVER": w.url, "PENDINGCTL_RUNTIME": "laptop",
		"PENDINGCTL_TOKEN": "owner"}
}

// callWith runs the program with an environment.
func callWith(ctx context.Context, env map[string]string, s surroundings, args ...string) result {
	var stdout, stderr bytes.Buffer
	s.stdout, s.stderr = &stdout, io.MultiWriter(&stderr, cmp.Or(s.stderr, io.Discard))
	s.env = func(name string) string { return env[name] }
	code := run(ctx, args, s)
	return result{code, stdout.String(), stderr.String()}
}

// interruptedAt runs the program on a terminal. It interrupts the program once that shows a text.
func (w *world) interruptedAt(text string, args ...string) result {
	ctx, interrupt := context.WithCancel(w.Context())
	defer interrupt()
	return callWith(ctx, w.env(), surroundings{live: true, stderr: cue{text, interrupt}}, args...)
}

// cue calls a function with each write that contains a text.
type cue struct {
	text string
	act  func()
}

func (c cue) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.text)) {
		c.act()
	}
	return len(p), nil
}

// want checks the exit code of a result, and that its outputs contain all parts.
func (w *world) want(r result, code int, parts ...string) {
	w.Helper()
	if r.code != code {
		w.Errorf("exit %d, want %d", r.code, code)
	}
	for _, part := range parts {
		if !strings.Contains(r.stdout+r.stderr, part) {
			w.Errorf("the outputs lack %q", part)
		}
	}
	if w.Failed() {
		w.Logf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
	}
}

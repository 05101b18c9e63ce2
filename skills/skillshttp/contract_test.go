package skillshttp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/skills"
)

// object is a decoded JSON object.
type object = map[string]any

// kind is a kind of request that is created, claimed, answered and read once.
type kind struct {
	path    string
	ask     string // the body that creates the request
	claimed string // part of the heartbeat's answer, with %s for the id
	report  string
	answer  object // the fields besides the head
}

var kinds = map[string]kind{
	"list": {
		path:    "/local-skills",
		claimed: `"pending_local_skills":{"id":"%s"}`,
		report: `{"status":"completed","unknown":1,"skills":[{"key":"a/b","name":"B",` +
			`"source_path":"~/x","provider":"claude","file_count":2}]}`,
		answer: object{"supported": true, "mcp_supported": false, "skills": []any{object{
			"key": "a/b", "name": "B", "source_path": "~/x", "provider": "claude",
			"file_count": 2.0}}},
	},
	"list that is not supported": {
		path:    "/local-skills",
		claimed: `"pending_local_skills":{"id":"%s"}`,
		report:  `{"status":"completed","supported":false,"mcp_supported":true}`,
		answer:  object{"supported": false, "mcp_supported": true},
	},
	"ping": {
		path:    "/ping",
		claimed: `"pending_ping":{"id":"%s"}`,
		report:  `{"status":"completed","output":"<up>","duration_ms":7}`,
		answer:  object{"output": "<up>", "duration_ms": 7.0},
	},
	"update": {
		path:    "/update",
		ask:     `{"target_version":" 1.2 "}`,
		claimed: `"pending_update":{"id":"%s","target_version":"1.2"}`,
		report:  `{"status":"completed","output":"done"}`,
		answer:  object{"target_version": "1.2", "output": "done"},
	},
	"models": {
		path:    "/models",
		claimed: `"pending_model_list":{"id":"%s"}`,
		report:  `{"status":"completed","models":[{"id":"m","label":"M","default":true}]}`,
		answer: object{"supported": true, "models": []any{
			object{"id": "m", "label": "M", "default": true}}},
	},
}

func TestEachKindIsCreatedClaimedAnsweredAndRead(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			asked := w.send("owner", "POST", api+kind.path, kind.ask)
			id := asked.text("id")
			w.want("asked", asked, 200, `"status":"pending"`, `"runtime_id":"laptop"`,
				`"created_at":"20`, `"updated_at":"20`)
			w.want("claimed", w.heartbeat(beat), 200, `"status":"ok"`,
				fmt.Sprintf(kind.claimed, id))
			w.want("running", w.read(kind.path, id), 200, `"status":"running"`)
			w.want("reported", w.report(kind.path, id, kind.report), 200, `{"status":"ok"}`)
			got := w.read(kind.path, id).fields()
			if got["status"] != "completed" || got["id"] != id {
				t.Errorf("got %v", got)
			}
			for _, head := range []string{
				"id", "runtime_id", "status", "created_at", "updated_at"} {
				delete(got, head)
			}
			if diff := cmp.Diff(kind.answer, got); diff != "" {
				t.Errorf("the answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFailureIsReported(t *testing.T) {
	w := newWorld(t)
	for report, reason := range map[string]string{
		`{"status":"failed","error":"no disk"}`: "no disk",
		`{"status":"odd","error":"odd end"}`:    "odd end",
		`{"status":"failed"}`:                   `the runtime reported \"failed\" without a reason`,
		`{}`:                                    `the runtime reported \"\" without a reason`,
	} {
		id := w.ask("/ping", "")
		w.heartbeat(beat)
		w.want(report, w.report("/ping", id, report), 200)
		w.want(report, w.read("/ping", id), 200, `"status":"failed"`, `"error":"`+reason)
	}
}

// anID is a valid id of a skill.
const anID = "5f0c7a86-4c1c-4f57-a1f5-0d5a9c3a5a11"

// overwrite returns the body that asks for an import instead of the skill with this id.
func overwrite(id string) string {
	return fmt.Sprintf(`{"skill_key":"k","action":"overwrite","target_skill_id":%q}`, id)
}

func TestInvalidRequestsAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{"/update", ``, 400},
		{"/update", `{"target_version":" "}`, 400},
		{"/update", `{"target_version"`, 400},
		{imports, `{}`, 400},
		{imports, `{"skill_key":" "}`, 400},
		{imports, `{"skill_key":"k","action":"replace"}`, 400},
		{imports, `{"skill_key":"k","action":"overwrite"}`, 400},
		{imports, overwrite("7"), 400},
		{imports, overwrite(anID), 200},
		{imports, `{"skill_key":"k","unknown":[1]}`, 200},
		{imports, `{"skill_key":"` + strings.Repeat("k", 65<<10) + `"}`, 413},
	} {
		r := w.send("owner", "POST", api+tc.path, tc.body)
		w.want(fmt.Sprintf("%s %.60s", tc.path, tc.body), r, tc.status)
		if tc.status != 200 && r.text("error") == "" {
			t.Errorf("%s %.60s: no error in %s", tc.path, tc.body, r.body)
		}
	}
}

func TestKeysAndOverridesAreTrimmed(t *testing.T) {
	w := newWorld(t)
	r := w.send("owner", "POST", api+imports,
		`{"skill_key":" a/b ","name":"  ","description":" d "}`)
	w.want("trimmed", r, 200, `"skill_key":"a/b"`, `"description":"d"`)
	if _, has := r.fields()["name"]; has {
		t.Errorf("a blank name is kept: %s", r.body)
	}
	r = w.send("owner", "POST", api+imports, overwrite(anID))
	w.want("overwrite implies supports_conflict", r, 200, `"supports_conflict":true`)
}

func TestPrivateFieldsAreStoredAndNeverSent(t *testing.T) {
	w := newWorld(t)
	id := w.ask(imports, `{"skill_key":"k"}`)
	r, err := w.stores.Imports.Get(t.Context(), id)
	if err != nil || r.Payload.CreatorID != "owner" {
		t.Errorf("stored: %+v, %v", r, err)
	}
	update := w.ask("/update", `{"target_version":"1"}`)
	u, err := w.stores.Updates.Get(t.Context(), update)
	if err != nil || u.Payload.InitiatorID != "owner" {
		t.Errorf("stored: %+v, %v", u, err)
	}
	for _, r := range []reply{
		w.read(imports, id), w.read("/update", update), w.heartbeat(beat),
	} {
		if strings.Contains(r.body, "owner") {
			t.Errorf("a private field was sent: %s", r.body)
		}
	}
}

func TestOfflineRuntimesGetOnlyPingsAndUpdates(t *testing.T) {
	w := newWorld(t)
	w.presence.offline[laptop] = true
	for path, status := range map[string]int{
		"/local-skills": 503, imports: 503, "/models": 503, "/ping": 200, "/update": 200,
	} {
		r := w.send("owner", "POST", api+path, `{"skill_key":"k","target_version":"1"}`)
		w.want(path, r, status)
	}
	w.heartbeat(beat)
	if len(w.presence.seen) != 1 || w.presence.seen[0] != laptop {
		t.Errorf("seen: %v", w.presence.seen)
	}
}

func TestASecondUpdateIsRefusedWithTheIDOfTheFirst(t *testing.T) {
	w := newWorld(t)
	id := w.ask("/update", `{"target_version":"1"}`)
	r := w.send("owner", "POST", api+"/update", `{"target_version":"2"}`)
	w.want("the second", r, 409, `"id":"`+id+`"`,
		`"error":"an update is already in progress for this runtime"`)
}

func TestAFullMailboxIs429(t *testing.T) {
	w := newWorld(t)
	for range skills.PingPolicy().MaxPending {
		w.ask("/ping", "")
	}
	r := w.send("owner", "POST", api+"/ping", "")
	w.want("one more", r, 429)
	if r.header.Get("Retry-After") == "" {
		t.Error("the 429 has no Retry-After")
	}
}

func TestImportsComeOneAtATimeToOldDaemons(t *testing.T) {
	w := newWorld(t)
	for i := range 12 {
		w.ask(imports, fmt.Sprintf(`{"skill_key":"k%d"}`, i))
	}
	old := w.heartbeat(`{"runtime_id":"laptop"}`)
	w.want("an old daemon's", old, 200, `"pending_local_skill_import":{"id":`)
	if n := len(old.fields()["pending_local_skill_imports"].([]any)); n != 1 {
		t.Errorf("an old daemon got %d imports, want 1", n)
	}
	batch := w.heartbeat(beat).fields()
	imports := batch["pending_local_skill_imports"].([]any)
	if len(imports) != 10 {
		t.Fatalf("a new daemon got %d imports, want 10", len(imports))
	}
	if diff := cmp.Diff(imports[0], batch["pending_local_skill_import"]); diff != "" {
		t.Errorf("the singular import is not the first of the batch:\n%s", diff)
	}
}

func TestAHeartbeatIsRepeatedByItsClaimID(t *testing.T) {
	w := newWorld(t)
	const claim = `{"runtime_id":"laptop","supports_batch_import":true,"claim_id":"c1"}`
	w.ask("/ping", "")
	w.ask(imports, `{"skill_key":"k"}`)
	first := w.heartbeat(claim)
	w.want("the first", first, 200, `pending_ping`, `pending_local_skill_import"`)
	w.ask("/ping", "")
	if again := w.heartbeat(claim); again.body != first.body {
		t.Errorf("repeated: got %s, want %s", again.body, first.body)
	}
	w.want("another", w.heartbeat(beat), 200, `pending_ping`)
	long := `{"runtime_id":"laptop","claim_id":"` + strings.Repeat("c", 513) + `"}`
	w.want("a claim id over the limit", w.heartbeat(long), 400)
}

func TestABrokenStoreDoesNotFailAHeartbeat(t *testing.T) {
	_, client := redistest.Mini(t)
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, b)
	w.ask("/ping", "")
	for _, key := range client.Keys(t.Context(), "*}:ping/q/*").Val() {
		client.Set(t.Context(), key, "not a queue", time.Hour)
	}
	w.want("nothing else to do", w.heartbeat(beat), 200, `{"status":"ok"}`)
	if !strings.Contains(w.log.String(), `"level":"WARN"`) {
		t.Errorf("the log has no warning:\n%s", w.log)
	}
	id := w.ask("/local-skills", "")
	w.want("other work", w.heartbeat(beat), 200, id)
}

func TestAnUpdateReportsThatItRuns(t *testing.T) {
	w := newWorld(t)
	id := w.ask("/update", `{"target_version":"1"}`)
	w.want("before its claim", w.report("/update", id, `{"status":"running"}`), 200)
	w.heartbeat(beat)
	before, _ := w.stores.Updates.Get(t.Context(), id)
	w.want("running", w.report("/update", id, `{"status":"running"}`), 200)
	after, _ := w.stores.Updates.Get(t.Context(), id)
	if !after.Deadline.After(before.Deadline) {
		t.Errorf("the deadline stayed at %v", after.Deadline)
	}
	w.want("another status", w.report("/update", id, `{"status":"sleeping"}`), 400)
	w.want("failed", w.report("/update", id, `{"status":"failed","error":"e","output":"log"}`), 200)
	w.want("read", w.read("/update", id), 200, `"status":"failed"`, `"output":"log"`, `"error":"e"`)
}

func TestALateReportIsAcceptedAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	for _, path := range paths {
		id := w.ask(path, `{"skill_key":"k","target_version":"1"}`)
		w.want(path, w.report(path, id, `{"status":"failed","error":"first"}`), 200)
		before := w.read(path, id).body
		for _, late := range []string{
			`{"status":"completed","output":"late","skill":{"name":"n","content":"c"}}`,
			`{"status":"failed","error":"late"}`,
		} {
			w.want(path+" late", w.report(path, id, late), 200, `{"status":"ok"}`)
		}
		if after := w.read(path, id).body; after != before {
			t.Errorf("%s: a late report changed %s to %s", path, before, after)
		}
	}
	if n := w.library.saved(); n != 0 {
		t.Errorf("late reports saved %d skills", n)
	}
}

func TestUnknownRequestsAndHiddenOnesGetTheSameAnswer(t *testing.T) {
	w := newWorld(t)
	other, err := w.stores.Pings.Create(t.Context(), phone, skills.Ping{})
	if err != nil {
		t.Fatal(err)
	}
	want := w.read("/ping", backends.NewID(laptop))
	w.want("no such request", want, 404)
	const hidden = "/api/runtimes/tablet"
	for what, got := range map[string]reply{
		"another runtime's request": w.read("/ping", other.ID),
		"an invalid id":             w.read("/ping", "1"),
		"no such route":             w.send("owner", "GET", "/api/other", ""),
		"a hidden runtime":          w.send("owner", "GET", hidden+"/ping/"+other.ID, ""),
		"another runtime's report":  w.report("/ping", other.ID, `{"status":"completed"}`),
		"a report of an invalid id": w.report("/ping", "1", `{"status":"completed"}`),
	} {
		if got.status != want.status || got.body != want.body {
			t.Errorf("%s: got %d %s, want %d %s",
				what, got.status, got.body, want.status, want.body)
		}
	}
}

func TestInfrastructureErrorsLeakNothing(t *testing.T) {
	w := newWorld(t)
	r := w.send("owner", "POST", "/api/runtimes/broken/ping", "")
	w.want("a broken directory", r, 500, `{"error":"internal error"}`)
	w.eventually("the log has the reason", func() bool {
		return strings.Contains(w.log.String(), "the directory is away")
	})
}

func TestTheDaemonOfADeletedRuntimeIsToldSo(t *testing.T) {
	w := newWorld(t)
	r := w.send("daemon-"+gone, "POST", heartbeatPath, `{"runtime_id":"`+gone+`"}`)
	w.want("deleted", r, http.StatusNotFound, "runtime not found")
	r = w.send("daemon-"+laptop, "POST", heartbeatPath, `{"runtime_id":"`+gone+`"}`)
	if r.status != 404 || strings.Contains(r.body, "runtime not found") {
		t.Errorf("a stranger's heartbeat: %d %s", r.status, r.body)
	}
}

func TestLogsCarryIDsAndNoPayload(t *testing.T) {
	w := newWorld(t)
	id := w.ask(imports, `{"skill_key":"secret-key","name":"secret-name"}`)
	w.heartbeat(beat)
	w.report(imports, id, `{"status":"completed","skill":{"name":"n","content":"secret-content"}}`)
	w.report(imports, id, `{"status":"completed","skill":"secret-broken"`)
	log := w.log.String()
	if !strings.Contains(log, id) {
		t.Errorf("the log does not name the request:\n%s", log)
	}
	if strings.Contains(log, "secret") || strings.Contains(log, `"owner"`) {
		t.Errorf("the log contains a payload or a user:\n%s", log)
	}
}

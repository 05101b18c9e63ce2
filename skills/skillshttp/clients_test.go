package skillshttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/catalogue"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// locked is access that knows tokens.
type locked struct{ access }

func (l locked) Requester(r *http.Request, runtimeID string) (skillshttp.Requester, error) {
	if token(r) == "" || token(r) == "wrong" {
		return skillshttp.Requester{}, skillshttp.ErrUnauthenticated
	}
	return l.access.Requester(r, runtimeID)
}

func (l locked) Daemon(r *http.Request, runtimeID string) (bool, error) {
	if token(r) == "" || token(r) == "wrong" {
		return false, fmt.Errorf("look up: %w", skillshttp.ErrUnauthenticated)
	}
	return l.access.Daemon(r, runtimeID)
}

func TestAMissingOrWrongTokenIs401(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.Access = locked{} })
	id := w.ask("/ping", "")
	for _, as := range []string{"", "wrong"} {
		for _, call := range [][2]string{
			{"POST", api + "/ping"}, {"GET", api + "/ping/" + id}, {"GET", "/api/runtimes/none/ping/1"},
			{"POST", "/api/daemon/heartbeat"}, {"GET", "/api/daemon/ws?runtime_ids=laptop"},
			{"POST", "/api/daemon/runtimes/laptop/ping/" + id + "/result"},
		} {
			r := w.send(as, call[0], call[1], beat)
			w.want(call[1], r, 401, `"code":"unauthorized"`)
			if r.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: no WWW-Authenticate", call[1])
			}
		}
	}
	w.want("who is known", w.send("owner", "POST", "/api/daemon/heartbeat", beat), 404)
}

func TestWhatIsMissingInADaemonsWords(t *testing.T) {
	w := newWorld(t)
	w.want("no runtime", w.heartbeat(`{}`), 400, "runtime_id")
	w.want("no body", w.heartbeat(``), 400, "runtime_id")
	for _, path := range []string{"/ping", imports} {
		id := w.claimedAt(path)
		w.want("an empty report", w.report(path, id, ""), 400)
		w.want("spaces", w.report(path, id, " \n"), 400)
		w.want("running", w.read(path, id), 200, `"status":"running"`)
	}
}

// claimedAt asks for something and has it claimed.
func (w *world) claimedAt(path string) string {
	w.Helper()
	id := w.ask(path, `{"skill_key":"k","target_version":"1"}`)
	w.want("claim", w.heartbeat(beat), 200, id)
	return id
}

func TestDataAfterTheJSONIsAccepted(t *testing.T) {
	w := newWorld(t)
	w.want("heartbeat", w.heartbeat(beat+"\n{}"), 200)
	id := w.claimedAt("/ping")
	w.want("report", w.report("/ping", id, `{"status":"completed","output":"up"} trailing`), 200)
	w.want("read", w.read("/ping", id), 200, `"output":"up"`)
	w.want("no JSON", w.heartbeat("x"+beat), 400)
}

func TestTheTargetOfAnOverwriteIsTrimmedAndLowerCased(t *testing.T) {
	w := newWorld(t)
	const id = "5f0c7a86-4c1c-4f57-a1f5-0d5a9c3a5a11"
	body := fmt.Sprintf(`{"skill_key":"k","action":"overwrite","target_skill_id":" %s "}`, strings.ToUpper(id))
	w.want("asked", w.send("owner", "POST", api+imports, body), 200, `"target_skill_id":"`+id+`"`)
}

func TestPoisonKeysAreRefused(t *testing.T) {
	w := newWorld(t)
	for name, body := range map[string]string{
		"60 KB":             fmt.Sprintf(`{"skill_key":%q}`, strings.Repeat("k", 60<<10)),
		"a NUL":             `{"skill_key":"a\u0000b"}`,
		"a line end":        `{"skill_key":"a\nb"}`,
		"a long name":       fmt.Sprintf(`{"skill_key":"k","name":%q}`, strings.Repeat("n", 256)),
		"a NUL in a name":   `{"skill_key":"k","name":"a\u0000"}`,
		"a long overriding": fmt.Sprintf(`{"skill_key":"k","description":%q}`, strings.Repeat("d", 9<<10)),
	} {
		w.want(name, w.send("owner", "POST", api+imports, body), 400, `"code":"invalid"`)
	}
	long := fmt.Sprintf(`{"target_version":%q}`, strings.Repeat("9", 300))
	w.want("a long version", w.send("owner", "POST", api+"/update", long), 400)
	w.want("nothing was asked", w.heartbeat(beat), 200, `{"status":"ok"}`)
}

// An update is claimed twice: its policy allows it.
func TestTheAttemptTravelsWhereARequestIsHandedOutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores, err := skills.New(memory.New(), func(p *skills.Policies) { p.Updates.MaxAttempts = 2 })
		if err != nil {
			t.Fatal(err)
		}
		s := newSocketless(t, func(c *skillshttp.Config) { c.Stores = stores })
		daemon := "daemon-" + laptop
		id, _ := s.send("owner", "POST", api+"/update", []byte(`{"target_version":"1"}`), 200)["id"].(string)
		report := func(status int, body string) {
			t.Helper()
			s.send(daemon, "POST", "/api/daemon/runtimes/laptop/update/"+id+"/result", []byte(body), status)
		}
		for attempt := range 2 {
			answer := s.send(daemon, "POST", "/api/daemon/heartbeat", []byte(beat), 200)
			assigned, _ := answer["pending_update"].(map[string]any)
			if assigned["attempt"] != float64(attempt+1) {
				t.Errorf("claim %d: got %v", attempt+1, answer)
			}
			if attempt == 0 {
				<-time.After(skills.UpdatePolicy().RunningTimeout + time.Second)
			}
		}
		report(400, `{"status":"completed"}`)
		report(200, `{"status":"completed","output":"old","attempt":1}`)
		report(200, `{"status":"completed","output":"new","attempt":2}`)
		if got := s.send("owner", "GET", api+"/update/"+id, nil, 200); got["output"] != "new" {
			t.Errorf("got %v, want the second attempt's answer", got)
		}
	})
}

func TestTimeoutsAreWordedAsClientsKnowThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSocketless(t)
		for path, words := range map[string][2]string{
			"/models":       {"daemon did not respond within 30 seconds", "daemon did not finish within 60 seconds"},
			"/local-skills": {"daemon did not respond within 180 seconds", "daemon did not finish within 60 seconds"},
			"/update":       {"daemon did not respond within 120 seconds", "daemon did not finish within 150 seconds"},
		} {
			for claimed, want := range words {
				asked := s.send("owner", "POST", api+path, []byte(`{"target_version":"1"}`), 200)
				if claimed == 1 {
					s.send("daemon-"+laptop, "POST", "/api/daemon/heartbeat", []byte(beat), 200)
				}
				seconds := map[string]time.Duration{"/models": 61, "/local-skills": 181, "/update": 151}
				<-time.After(seconds[path] * time.Second)
				got := s.send("owner", "GET", api+path+"/"+asked["id"].(string), nil, 200)
				if got["status"] != "timeout" || got["error"] != want {
					t.Errorf("%s: got %v, %v, want %s", path, got["status"], got["error"], want)
				}
			}
		}
	})
}

// stuck is a backend whose claims hang, until they are let go.
type stuck struct {
	backends.Backend
	hang chan struct{}
}

func (b *stuck) Unwrap() backends.Backend { return b.Backend }

func (b *stuck) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	<-b.hang
	return b.Backend.Claim(ctx, c)
}

func TestAHeartbeatAnswersWithinItsBound(t *testing.T) {
	for _, wait := range []string{"", "?wait=50s"} {
		b := &stuck{memory.New(), make(chan struct{})}
		w := newWorldOn(t, b, func(c *skillshttp.Config) { c.HeartbeatTime = 20 * time.Millisecond })
		id := w.ask("/ping", "")
		r := w.send("daemon-"+laptop, "POST", "/api/daemon/heartbeat"+wait, beat)
		w.want("hung", r, 200, `{"status":"ok"}`)
		if r.header.Get("Claim-Failed") == "" || !strings.Contains(w.log.String(), `"level":"WARN"`) {
			t.Errorf("header %v, log:\n%s", r.header, w.log)
		}
		close(b.hang)
		w.eventually("the work arrives, though the daemon sends no claim id", func() bool {
			return strings.Contains(w.heartbeat(beat).body, id)
		})
		if strings.Contains(w.log.String(), `"level":"ERROR"`) {
			t.Errorf("an error is logged:\n%s", w.log)
		}
	}
}

// broken is a backend that fails.
type broken struct{ backends.Backend }

func (broken) Claim(context.Context, backends.Claim) ([]backends.Claimed, error) {
	return nil, errors.New("secret: connection refused")
}

func TestAHeartbeatNeverFailsBecauseOfAStore(t *testing.T) {
	w := newWorldOn(t, broken{memory.New()})
	w.want("failed", w.heartbeat(beat), 200, `{"status":"ok"}`)
	w.want("held", w.send("daemon-"+laptop, "POST", "/api/daemon/heartbeat?wait=50s", beat), 200, `{"status":"ok"}`)
	if log := w.log.String(); !strings.Contains(log, "connection refused") || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log:\n%s", log)
	}
}

func TestWhoHangsUpAndWhatIsOfflineIsNoError(t *testing.T) {
	w := newWorld(t)
	ctx, hangUp := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", w.url+"/api/daemon/heartbeat?wait=50s", strings.NewReader(beat))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer daemon-"+laptop)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	w.eventually("it is parked", func() bool { return w.handler.Parked() == 1 })
	hangUp()
	<-ended
	w.eventually("it has gone", func() bool { return strings.Contains(w.log.String(), "hung up") })
	w.presence.mu.Lock()
	w.presence.offline[laptop] = true
	w.presence.mu.Unlock()
	w.want("offline", w.send("owner", "POST", api+"/models", ""), 503, `"code":"offline"`)
	if log := w.log.String(); strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, `"level":"WARN"`) {
		t.Errorf("the log:\n%s", log)
	}
}

func TestTheCatalogueOfModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSocketless(t, func(c *skillshttp.Config) { c.Catalogue = &catalogue.Memory{} })
		daemon := "daemon-" + laptop
		ask := func() map[string]any { return s.send("owner", "POST", api+"/models", nil, 200) }
		pending := func() string {
			models, _ := s.send(daemon, "POST", "/api/daemon/heartbeat", []byte(beat), 200)["pending_model_list"].(map[string]any)
			id, _ := models["id"].(string)
			return id
		}
		report := func(id, body string) {
			s.send(daemon, "POST", "/api/daemon/runtimes/laptop/models/"+id+"/result", []byte(body), 200)
		}
		asked := ask()
		if asked["status"] != "pending" || asked["cached"] != nil {
			t.Errorf("nothing is known yet, got %v", asked)
		}
		report(pending(), `{"status":"completed","models":[{"id":"m","label":"M"}]}`)
		known := ask()
		if known["status"] != "completed" || known["cached"] != true || known["cached_at"] == nil ||
			len(known["models"].([]any)) != 1 || pending() != "" {
			t.Errorf("it is known and fresh, got %v", known)
		}
		<-time.After(61 * time.Second)
		for range 2 {
			if again := ask(); again["cached"] != true {
				t.Errorf("it is known and a minute old, got %v", again)
			}
		}
		report(pending(), `{"status":"completed","fallback":true,"models":[{"id":"f","label":"F"}]}`)
		if id := pending(); id != "" {
			t.Errorf("it was refreshed twice")
		}
		if models := fmt.Sprint(ask()["models"]); !strings.Contains(models, "id:m") {
			t.Errorf("a fallback changed the catalogue to %s", models)
		}
		report(pending(), `{"status":"failed","error":"e"}`)
		if again := ask(); again["cached"] != true {
			t.Errorf("a failure dropped the catalogue, got %v", again)
		}
		report(pending(), `{"status":"completed","supported":false}`)
		if again := ask(); again["cached"] != nil || again["status"] != "pending" {
			t.Errorf("an unsupported list did not drop it, got %v", again)
		}
		report(pending(), `{"status":"completed","models":[{"id":"m","label":"M"}]}`)
		<-time.After(catalogue.Lifetime)
		if again := ask(); again["cached"] != nil {
			t.Errorf("after a day it is still known: %v", again)
		}
	})
}

// version is how the daemons of a version of the contract speak.
type version struct {
	runtime string
	beat    string // %d stands for the number of the heartbeat
	imports string // the field that the daemon reads
	attempt string // what a report says of the claim
	beats   int    // that bring one request of each kind, and twelve imports
}

// The daemon of the first contract sends no claim id and no attempt, and reads one import at a
// time. A new one loses the first answer of each heartbeat, and repeats it.
var versions = map[string]version{
	"first": {laptop, `{"runtime_id":"laptop"}`, "pending_local_skill_import", "", 12},
	"new": {phone, `{"runtime_id":"phone","supports_batch_import":true,"claim_id":"c%d"}`,
		"pending_local_skill_imports", `"attempt":1,`, 2},
}

func TestDaemonsOfTheFirstContractAndNewOnesWorkSideBySide(t *testing.T) {
	w := newWorld(t)
	asked := map[string]map[string]string{} // by version: paths by id
	for name, v := range versions {
		asked[name] = map[string]string{}
		paths := append(slices.Repeat([]string{imports}, 12), "/ping", "/update", "/local-skills", "/models")
		for _, path := range paths {
			r := w.send("owner", "POST", "/api/runtimes/"+v.runtime+path, `{"skill_key":"k","target_version":"1"}`)
			asked[name][r.text("id")] = path
		}
	}
	t.Run("both", func(t *testing.T) {
		for name, v := range versions {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				side := *w
				side.T = t
				side.work(v, asked[name])
			})
		}
	})
	if n := w.library.saved(); n != 24 {
		t.Errorf("%d skills are saved, want 24", n)
	}
}

// work is a daemon that answers all requests, whose paths are given by id.
func (w *world) work(v version, left map[string]string) {
	w.Helper()
	beats := 0
	for ; len(left) > 0 && beats < v.beats; beats++ {
		body := strings.ReplaceAll(v.beat, "%d", fmt.Sprint(beats))
		answer := w.send("daemon-"+v.runtime, "POST", "/api/daemon/heartbeat", body)
		if body != v.beat {
			again := w.send("daemon-"+v.runtime, "POST", "/api/daemon/heartbeat", body)
			w.want("repeated", again, 200, answer.body)
		}
		for _, id := range v.assigned(answer) {
			w.answer(v, left[id], id)
			delete(left, id)
		}
	}
	if len(left) > 0 || beats != v.beats {
		w.Errorf("%d requests are left after %d heartbeats, want none after %d", len(left), beats, v.beats)
	}
}

// assigned returns the ids of the requests that an answer brings to a daemon of the version.
func (v version) assigned(answer reply) (ids []string) {
	fields := answer.fields()
	for _, field := range []string{"pending_local_skills", "pending_ping", "pending_update", "pending_model_list", v.imports} {
		all, isList := fields[field].([]any)
		if !isList {
			all = []any{fields[field]}
		}
		for _, one := range all {
			if assigned, _ := one.(map[string]any); assigned != nil {
				ids = append(ids, assigned["id"].(string))
			}
		}
	}
	return ids
}

// answer reports on a request, and checks that its requester reads the answer.
func (w *world) answer(v version, path, id string) {
	w.Helper()
	report := strings.Replace(bundle("n"+id), "{", `{`+v.attempt+`"output":"up",`, 1)
	w.want(path, w.send("daemon-"+v.runtime, "POST", "/api/daemon/runtimes/"+v.runtime+path+"/"+id+"/result", report), 200)
	w.want(path, w.send("owner", "GET", "/api/runtimes/"+v.runtime+path+"/"+id, ""), 200, `"status":"completed"`)
	for _, other := range versions {
		if other.runtime != v.runtime {
			w.want("the other runtime's", w.send("owner", "GET", "/api/runtimes/"+other.runtime+path+"/"+id, ""), 404)
		}
	}
}

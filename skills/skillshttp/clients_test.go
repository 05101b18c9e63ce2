package skillshttp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// locked is access that refuses missing and wrong tokens.
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
			{"POST", api + "/ping"}, {"GET", api + "/ping/" + id},
			{"GET", "/api/runtimes/none/ping/1"},
			{"POST", heartbeatPath}, {"GET", "/api/daemon/ws?runtime_ids=laptop"},
			{"POST", resultPath(laptop, "/ping", id)},
		} {
			r := w.send(as, call[0], call[1], beat)
			w.want(call[1], r, 401, `"code":"unauthorized"`)
			if r.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: no WWW-Authenticate", call[1])
			}
		}
	}
	w.want("a known token", w.send("owner", "POST", heartbeatPath, beat), 404)
}

func TestDaemonsThatLeaveOutAField(t *testing.T) {
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

// claimedAt creates a request, has it claimed, and returns its id.
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
	body := overwrite(" " + strings.ToUpper(id) + " ")
	w.want("asked", w.send("owner", "POST", api+imports, body), 200, `"target_skill_id":"`+id+`"`)
}

func TestInvalidTextsOfARequestAreRefused(t *testing.T) {
	w := newWorld(t)
	longDescription := strings.Repeat("d", 9<<10)
	for name, body := range map[string]string{
		"a key of 60 KB":     `{"skill_key":"` + strings.Repeat("k", 60<<10) + `"}`,
		"a key with NUL":     `{"skill_key":"a\u0000b"}`,
		"a key of two lines": `{"skill_key":"a\nb"}`,
		"a long name":        `{"skill_key":"k","name":"` + strings.Repeat("n", 256) + `"}`,
		"a name with NUL":    `{"skill_key":"k","name":"a\u0000"}`,
		"a long description": `{"skill_key":"k","description":"` + longDescription + `"}`,
	} {
		w.want(name, w.send("owner", "POST", api+imports, body), 400, `"code":"invalid"`)
	}
	long := fmt.Sprintf(`{"target_version":%q}`, strings.Repeat("9", 300))
	w.want("a long version", w.send("owner", "POST", api+"/update", long), 400)
	w.want("nothing was asked", w.heartbeat(beat), 200, `{"status":"ok"}`)
}

// The policy of updates allows two attempts here.
func TestReportsNeedTheAttemptIfARequestIsClaimedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twice := func(p *skills.Policies) { p.Updates.MaxAttempts = 2 }
		stores, err := skills.New(memory.New(), twice)
		if err != nil {
			t.Fatal(err)
		}
		s := newSocketless(t, func(c *skillshttp.Config) { c.Stores = stores })
		daemon := "daemon-" + laptop
		asked := s.send("owner", "POST", api+"/update", []byte(`{"target_version":"1"}`), 200)
		id, _ := asked["id"].(string)
		report := func(status int, body string) {
			t.Helper()
			s.send(daemon, "POST", resultPath(laptop, "/update", id), []byte(body), status)
		}
		for attempt := range 2 {
			answer := s.send(daemon, "POST", heartbeatPath, []byte(beat), 200)
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

func TestTimeoutsHaveTheTextsThatClientsExpect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSocketless(t)
		for _, tc := range []struct {
			path             string
			pending, running int // seconds
		}{
			{"/models", 30, 60}, {"/local-skills", 180, 60}, {"/update", 120, 150},
		} {
			ask := func() (path string) {
				asked := s.send("owner", "POST", api+tc.path, []byte(`{"target_version":"1"}`), 200)
				return api + tc.path + "/" + asked["id"].(string)
			}
			wantTimeout := func(path, want string) {
				<-time.After(time.Duration(max(tc.pending, tc.running)+1) * time.Second)
				got := s.send("owner", "GET", path, nil, 200)
				if got["status"] != "timeout" || got["error"] != want {
					t.Errorf("%s: got %v, %v, want %s", tc.path, got["status"], got["error"], want)
				}
			}
			wantTimeout(ask(), fmt.Sprintf("daemon did not respond within %d seconds", tc.pending))
			claimed := ask()
			s.send("daemon-"+laptop, "POST", heartbeatPath, []byte(beat), 200)
			wantTimeout(claimed, fmt.Sprintf("daemon did not finish within %d seconds", tc.running))
		}
	})
}

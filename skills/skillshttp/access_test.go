package skillshttp_test

import (
	"net/http"
	"testing"

	"github.com/pendingq/pendingq/skills"
)

// Every route for everyone: who is not allowed gets 403 where they may see the runtime, else the
// one 404.
func TestWhoMayDoWhat(t *testing.T) {
	people := []string{"owner", "admin", "member", "initiator", "stranger", "", "daemon-" + laptop, "daemon-" + phone}
	const (
		ok = http.StatusOK
		no = http.StatusForbidden
		nf = http.StatusNotFound
	)
	const body = `{"skill_key":"k","target_version":"1","status":"failed"}`
	for _, tc := range []struct {
		method, path string // with the id of a request behind it, but for a POST
		want         []int  // in the order of people
	}{
		{"POST", "/local-skills", []int{ok, ok, ok, ok, nf, nf, nf, nf}},
		{"GET", "/local-skills/", []int{ok, ok, ok, ok, nf, nf, nf, nf}},
		{"POST", "/local-skills/import", []int{ok, no, no, no, nf, nf, nf, nf}},
		{"GET", "/local-skills/import/", []int{ok, no, no, no, nf, nf, nf, nf}},
		{"POST", "/ping", []int{ok, ok, ok, ok, nf, nf, nf, nf}},
		{"GET", "/ping/", []int{ok, ok, ok, ok, nf, nf, nf, nf}},
		{"POST", "/update", []int{ok, ok, no, no, nf, nf, nf, nf}},
		{"GET", "/update/", []int{ok, ok, no, ok, nf, nf, nf, nf}},
		{"POST", "/models", []int{ok, ok, ok, ok, nf, nf, nf, nf}},
		{"GET", "/models/", []int{ok, ok, ok, ok, nf, nf, nf, nf}},
		{"HEARTBEAT", "", []int{nf, nf, nf, nf, nf, nf, ok, nf}},
		{"REPORT", "/local-skills/", []int{nf, nf, nf, nf, nf, nf, ok, nf}},
		{"REPORT", "/local-skills/import/", []int{nf, nf, nf, nf, nf, nf, ok, nf}},
		{"REPORT", "/ping/", []int{nf, nf, nf, nf, nf, nf, ok, nf}},
		{"REPORT", "/update/", []int{nf, nf, nf, nf, nf, nf, ok, nf}},
		{"REPORT", "/models/", []int{nf, nf, nf, nf, nf, nf, ok, nf}},
	} {
		for i, who := range people {
			w := newWorld(t)
			var got reply
			switch tc.method {
			case "POST":
				got = w.send(who, "POST", api+tc.path, body)
			case "GET":
				got = w.send(who, "GET", api+tc.path+w.seed(tc.path), "")
			case "HEARTBEAT":
				got = w.send(who, "POST", "/api/daemon/heartbeat", beat)
			case "REPORT":
				got = w.send(who, "POST", "/api/daemon/runtimes/"+laptop+tc.path+w.seed(tc.path)+"/result", body)
			}
			if got.status != tc.want[i] {
				t.Errorf("%s %s as %q: got %d, want %d", tc.method, tc.path, who, got.status, tc.want[i])
			}
			if got.status == nf && got.body != `{"error":"not found"}` {
				t.Errorf("%s %s as %q: the 404 says %s", tc.method, tc.path, who, got.body)
			}
		}
	}
}

// seed makes a request of the path's kind, an update as its initiator's, and returns its id.
func (w *world) seed(path string) (id string) {
	w.Helper()
	ctx, s := w.Context(), w.stores
	var err error
	keep := func(made string, e error) { id, err = made, e }
	switch path {
	case "/local-skills/":
		r, e := s.Lists.Create(ctx, laptop, skills.NewList())
		keep(r.ID, e)
	case "/local-skills/import/":
		r, e := s.Imports.Create(ctx, laptop, skills.Import{})
		keep(r.ID, e)
	case "/ping/":
		r, e := s.Pings.Create(ctx, laptop, skills.Ping{})
		keep(r.ID, e)
	case "/update/":
		r, e := s.Updates.Create(ctx, laptop, skills.Update{InitiatorID: "initiator"})
		keep(r.ID, e)
	case "/models/":
		r, e := s.ModelLists.Create(ctx, laptop, skills.NewModelList())
		keep(r.ID, e)
	}
	if err != nil {
		w.Fatal(err)
	}
	return id
}

func TestAMemberCannotTellWhichUpdatesThereAre(t *testing.T) {
	w := newWorld(t)
	there := w.send("member", "GET", api+"/update/"+w.seed("/update/"), "")
	absent := w.send("member", "GET", api+"/update/1", "")
	if there.status != 403 || there.status != absent.status || there.body != absent.body {
		t.Errorf("got %d %s for one that is there, %d %s for one that is not", there.status, there.body, absent.status, absent.body)
	}
}

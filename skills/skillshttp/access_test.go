package skillshttp_test

import (
	"net/http"
	"testing"

	"github.com/pendingq/pendingq/skills"
)

// right are the statuses that callers get for a kind of call.
type right struct {
	kind, path string // a path that ends with / goes on with the id of a request
	want       []int  // in the order of callers
}

var callers = []string{"owner", "admin", "member", "initiator", "stranger", "",
	"daemon-" + laptop, "daemon-" + phone}

// Each route is called by each caller. A caller without the right gets 403 if it may see the
// runtime, otherwise the 404 of a route that does not exist.
func TestTheRightsOfEachCaller(t *testing.T) {
	const (
		ok = http.StatusOK
		no = http.StatusForbidden
		nf = http.StatusNotFound
	)
	for _, r := range []right{
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
		for i, caller := range callers {
			got, want := newWorld(t).call(caller, r), r.want[i]
			if got.status != want {
				t.Errorf("%s %s as %q: got %d, want %d", r.kind, r.path, caller, got.status, want)
			}
			if got.status == nf && got.body != `{"error":"not found"}` {
				t.Errorf("%s %s as %q: the 404 says %s", r.kind, r.path, caller, got.body)
			}
		}
	}
}

// call sends a call of a kind.
func (w *world) call(caller string, r right) reply {
	w.Helper()
	const body = `{"skill_key":"k","target_version":"1","status":"failed"}`
	switch r.kind {
	case "POST":
		return w.send(caller, "POST", api+r.path, body)
	case "GET":
		return w.send(caller, "GET", api+r.path+w.seed(r.path), "")
	case "HEARTBEAT":
		return w.send(caller, "POST", heartbeatPath, beat)
	}
	path := "/api/daemon/runtimes/" + laptop + r.path + w.seed(r.path) + "/result"
	return w.send(caller, "POST", path, body)
}

// seed creates a request of the path's kind and returns its id. The initiator of an update is
// "initiator".
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

func TestAMemberCannotTellWhichUpdatesExist(t *testing.T) {
	w := newWorld(t)
	known := w.send("member", "GET", api+"/update/"+w.seed("/update/"), "")
	unknown := w.send("member", "GET", api+"/update/1", "")
	if known.status != 403 || known.status != unknown.status || known.body != unknown.body {
		t.Errorf("got %d %s for an update, %d %s for an unknown id",
			known.status, known.body, unknown.status, unknown.body)
	}
}

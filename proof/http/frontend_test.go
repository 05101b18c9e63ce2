package http_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pendingq/pendingq/internal/calls"
)

// frontEnd makes a request to a runtime, waits for its end, and reads earlier requests.
type frontEnd struct {
	*service
	runtime string
	caller  *caller
	earlier []earlier
}

// earlier is a request that has ended.
type earlier struct {
	route *route
	id    string
}

func (f *frontEnd) run() {
	for f.more() {
		r := routes[f.caller.upTo(len(routes))]
		if id := f.create(r); id != "" {
			f.follow(r, id)
			f.earlier = append(f.earlier, earlier{r, id})
		}
		f.lookBack()
		f.think()
	}
}

// lookBack reads a request that has ended.
func (f *frontEnd) lookBack() {
	if len(f.earlier) > 0 {
		past := f.earlier[f.caller.upTo(len(f.earlier))]
		f.read(past.route, past.id, "")
	}
}

func (f *frontEnd) think() {
	calls.Pass(f.scaled(time.Duration(f.caller.upTo(3000)) * time.Millisecond))
}

// create repeats a create until a node has answered. A repeat may make a second request. The store
// of updates is exclusive, so the answer to its repeat names the live request instead.
func (f *frontEnd) create(r *route) (id string) {
	for !f.Failed() {
		status, body := f.send(http.MethodPost, r.path, r.question(f.asked.Add(1)))
		switch status {
		case http.StatusOK, http.StatusConflict:
			id := parse(body).ID
			f.ledger.note(r, f.runtime, id, func(*errand) {})
			return id
		case lost, http.StatusInternalServerError:
		default:
			f.Errorf("create at %s: %d %s", r.path, status, body)
		}
		f.think()
	}
	return ""
}

// follow reads a request until it has ended. A request that outlives its deadlines fails the test.
func (f *frontEnd) follow(r *route, id string) {
	patience := time.Now().Add(f.scaled(2*(r.policy.PendingTimeout+r.policy.RunningTimeout)) +
		time.Minute)
	for !f.read(r, id, []string{"", "?wait=1s", "?wait=20s"}[f.caller.upTo(3)]) {
		if time.Now().After(patience) {
			f.Errorf("%s%s %s does not end", f.runtime, r.path, id)
			return
		}
		f.think()
	}
}

// read reads a request once. It reports whether the request has ended or was not found. If the
// request must exist, the ledger fails the test.
func (f *frontEnd) read(r *route, id, query string) (ended bool) {
	began := time.Now()
	status, body := f.send(http.MethodGet, r.path+"/"+id+query, "")
	switch status {
	case http.StatusOK:
		return f.ledger.saw(r, f.runtime, id, began, body)
	case http.StatusNotFound:
		f.ledger.notFound(id)
		return true
	case lost, http.StatusInternalServerError:
	default:
		f.Errorf("read %s of %s: %d %s", id, r.path, status, body)
	}
	return f.Failed()
}

// lost is the status of a call that got no answer.
const lost = 0

func (f *frontEnd) send(method, path, body string) (status int, answer string) {
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://nodes/api/runtimes/"+f.runtime+path,
		strings.NewReader(body))
	if err != nil {
		f.Error(err)
		return lost, ""
	}
	resp, err := f.caller.RoundTrip(r)
	if err != nil {
		return lost, ""
	}
	text, _ := io.ReadAll(resp.Body) // the body is in memory
	return resp.StatusCode, string(text)
}

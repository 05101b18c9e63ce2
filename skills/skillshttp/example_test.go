package skillshttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// onePerson makes ada the owner of all runtimes, and accepts each daemon as the runtime that it
// names. A product checks sessions and tokens.
type onePerson struct{}

func (onePerson) Requester(*http.Request, string) (skillshttp.Requester, error) {
	return skillshttp.Requester{UserID: "ada", Role: skillshttp.RoleOwner}, nil
}

func (onePerson) Daemon(*http.Request, string) (bool, error) { return true, nil }

// noLibrary refuses all imports. A product saves skills in its database.
type noLibrary struct{}

func (noLibrary) Save(context.Context, skillshttp.Save) (skills.Skill, error) {
	return skills.Skill{}, skillshttp.ErrRefused
}

func (noLibrary) TakeBack(context.Context, string) error { return nil }

// A front end pings a runtime over HTTP, and the runtime's daemon answers.
func Example() {
	stores, err := skills.New(memory.New())
	if err != nil {
		panic(err)
	}
	handler, err := skillshttp.New(skillshttp.Config{
		Stores: stores, Access: onePerson{}, Library: noLibrary{},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		panic(err)
	}
	call := func(method, path, body string) (answer struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Output string `json:"output"`
		Ping   struct {
			ID string `json:"id"`
		} `json:"pending_ping"`
	}) {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(method, path, strings.NewReader(body)))
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
			panic(err)
		}
		return answer
	}

	asked := call("POST", "/api/runtimes/laptop/ping", "")
	work := call("POST", "/api/daemon/heartbeat", `{"runtime_id":"laptop"}`)
	call("POST", "/api/daemon/runtimes/laptop/ping/"+work.Ping.ID+"/result",
		`{"status":"completed","output":"up"}`)
	answer := call("GET", "/api/runtimes/laptop/ping/"+asked.ID, "")
	fmt.Println(asked.Status, answer.Status, answer.Output)
	// Output: pending completed up
}

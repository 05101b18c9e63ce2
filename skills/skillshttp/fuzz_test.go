package skillshttp_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// FuzzBody sends any body to every route that reads one. Each answer is JSON and no answer is a
// 500. All requests can be read afterwards.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", "[]", `"`, beat, `{"runtime_id":"laptop","claim_id":"c"}`,
		`{"skill_key":"k","name":" n ","supports_conflict":true}`, overwrite("x"),
		`{"target_version":"v1"}`, bundle("n"), `{"status":"running"}`,
		`{"status":"failed","error":"\u0000"}`,
		`{"status":"completed","skills":[{"key":"k"}],"models":[{"id":"m"}],` +
			`"output":"o","duration_ms":1,"supported":null}`,
		`{"status":"completed","skill":{"files":[{"path":"../x"}]}}`,
		`{"status":"completed","output":"\ud800"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newSocketless(t)
		for _, path := range paths {
			s.post("owner", api+path, body)
			// A second update is refused with 409.
			s.post("owner", api+path, []byte(`{"skill_key":"k","target_version":"v"}`))
		}
		s.post("daemon-"+laptop, heartbeatPath, body)
		s.post("daemon-"+laptop, heartbeatPath, []byte(beat))
		for id, path := range s.asked {
			s.post("daemon-"+laptop, resultPath(laptop, path, id), body)
			s.send("owner", http.MethodGet, api+path+"/"+id, nil, http.StatusOK)
		}
	})
}

var paths = []string{"/local-skills", imports, "/ping", "/update", "/models"}

// socketless is a handler that is called without a network.
type socketless struct {
	*testing.T
	handler *skillshttp.Handler
	asked   map[string]string // the paths of requests, by id
}

func newSocketless(t *testing.T, change ...func(*skillshttp.Config)) *socketless {
	stores, err := skills.New(memory.New())
	if err != nil {
		t.Fatal(err)
	}
	config := skillshttp.Config{Stores: stores, Access: access{},
		Logger:  slog.New(slog.DiscardHandler),
		Library: &library{byRequest: map[string]skills.Skill{}}}
	for _, c := range change {
		c(&config)
	}
	handler, err := skillshttp.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return &socketless{t, handler, map[string]string{}}
}

// post sends a POST, and notes the request that it creates.
func (s *socketless) post(as, path string, body []byte) {
	s.Helper()
	answer := s.send(as, http.MethodPost, path, body, http.StatusOK, http.StatusBadRequest,
		http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge)
	if id, created := answer["id"].(string); created {
		s.asked[id] = path[len(api):]
	}
}

// send calls the handler and returns the answer. The status has to be one of those given.
func (s *socketless) send(
	as, method, path string, body []byte, statuses ...int) (answer map[string]any) {
	s.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+as)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if !slices.Contains(statuses, w.Code) {
		s.Errorf("%s %s: got status %d: %s", method, path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		s.Errorf("%s %s was answered %q: %v", method, path, w.Body, err)
	}
	return answer
}

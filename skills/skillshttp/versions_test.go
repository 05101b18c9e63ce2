package skillshttp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// version describes the daemons of one version of the contract.
type version struct {
	runtime string
	beat    string // the body of a heartbeat; %d stands for its number
	imports string // the field that the daemon reads
	attempt string // the field of a report with the attempt, or ""
	beats   int    // how many heartbeats bring twelve imports and one request of each other kind
}

// A daemon of the first contract sends no claim id and no attempt, and reads one import at a time.
// Here a new daemon loses the first answer to each heartbeat, and repeats the heartbeat.
var versions = map[string]version{
	"first": {laptop, `{"runtime_id":"laptop"}`, "pending_local_skill_import", "", 12},
	"new": {phone, `{"runtime_id":"phone","supports_batch_import":true,"claim_id":"c%d"}`,
		"pending_local_skill_imports", `"attempt":1,`, 2},
}

func TestDaemonsOfBothVersionsWorkSideBySide(t *testing.T) {
	w := newWorld(t)
	asked := map[string]map[string]string{} // by version: paths by id
	for name, v := range versions {
		asked[name] = map[string]string{}
		paths := append(slices.Repeat([]string{imports}, 12),
			"/ping", "/update", "/local-skills", "/models")
		for _, path := range paths {
			r := w.send("owner", "POST", "/api/runtimes/"+v.runtime+path,
				`{"skill_key":"k","target_version":"1"}`)
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

// work is a daemon that answers all requests that are left. Left has their paths by id.
func (w *world) work(v version, left map[string]string) {
	w.Helper()
	beats := 0
	for ; len(left) > 0 && beats < v.beats; beats++ {
		body := strings.ReplaceAll(v.beat, "%d", fmt.Sprint(beats))
		answer := w.send("daemon-"+v.runtime, "POST", heartbeatPath, body)
		if body != v.beat {
			again := w.send("daemon-"+v.runtime, "POST", heartbeatPath, body)
			w.want("repeated", again, 200, answer.body)
		}
		for _, id := range v.assigned(answer) {
			w.answer(v, left[id], id)
			delete(left, id)
		}
	}
	if len(left) > 0 || beats != v.beats {
		w.Errorf("%d requests are left after %d heartbeats, want none after %d",
			len(left), beats, v.beats)
	}
}

// assigned returns the ids of the requests in the answer to a heartbeat.
func (v version) assigned(answer reply) (ids []string) {
	fields := answer.fields()
	for _, field := range []string{"pending_local_skills", "pending_ping", "pending_update",
		"pending_model_list", v.imports} {
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
	read := func(runtimeID string) reply {
		return w.send("owner", "GET", "/api/runtimes/"+runtimeID+path+"/"+id, "")
	}
	result := resultPath(v.runtime, path, id)
	w.want(path, w.send("daemon-"+v.runtime, "POST", result, report), 200)
	w.want(path, read(v.runtime), 200, `"status":"completed"`)
	for _, other := range versions {
		if other.runtime != v.runtime {
			w.want("below the other runtime", read(other.runtime), 404)
		}
	}
}

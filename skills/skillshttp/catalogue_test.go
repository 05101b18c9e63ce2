package skillshttp_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/skills/catalogue"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// models asks for the models of the laptop, as a front end and as the laptop's daemon.
type models struct{ *socketless }

// ask returns the answer to a front end.
func (m models) ask() map[string]any {
	return m.send("owner", "POST", api+"/models", nil, 200)
}

// pending sends a heartbeat and returns the id of the request that it brings, or "".
func (m models) pending() string {
	answer := m.send("daemon-"+laptop, "POST", heartbeatPath, []byte(beat), 200)
	assigned, _ := answer["pending_model_list"].(map[string]any)
	id, _ := assigned["id"].(string)
	return id
}

// report reports on the pending request.
func (m models) report(body string) {
	m.Helper()
	m.send("daemon-"+laptop, "POST", resultPath(laptop, "/models", m.pending()), []byte(body), 200)
}

// wantCached checks that the answer is a completed list from the catalogue.
func (m models) wantCached(when string) {
	m.Helper()
	got := m.ask()
	list, _ := got["models"].([]any)
	if got["status"] != "completed" || got["cached"] != true || got["cached_at"] == nil ||
		len(list) != 1 || !strings.Contains(fmt.Sprint(list), "id:m") {
		m.Errorf("%s: got %v, want the model m from the catalogue", when, got)
	}
}

// wantAsked checks that the answer is not from the catalogue, and that the runtime is asked.
func (m models) wantAsked(when string) {
	m.Helper()
	if got := m.ask(); got["status"] != "pending" || got["cached"] != nil {
		m.Errorf("%s: got %v, want a pending request", when, got)
	}
}

func TestTheCatalogueOfModels(t *testing.T) {
	const listed = `{"status":"completed","models":[{"id":"m","label":"M"}]}`
	synctest.Test(t, func(t *testing.T) {
		m := models{newSocketless(t, func(c *skillshttp.Config) {
			c.Catalogue = &catalogue.Memory{}
		})}
		m.wantAsked("the catalogue is empty")
		m.report(listed)
		m.wantCached("the entry is fresh")
		if id := m.pending(); id != "" {
			t.Error("the runtime is asked although the entry is fresh")
		}
		<-time.After(61 * time.Second)
		for range 2 {
			m.wantCached("the entry is a minute old")
		}
		m.report(`{"status":"completed","fallback":true,"models":[{"id":"f","label":"F"}]}`)
		if id := m.pending(); id != "" {
			t.Error("the runtime was asked twice to refresh one entry")
		}
		m.wantCached("after a list with fallback")
		m.report(`{"status":"failed","error":"e"}`)
		m.wantCached("after a failure")
		m.report(`{"status":"completed","supported":false}`)
		m.wantAsked("after a list that is not supported")
		m.report(listed)
		<-time.After(catalogue.Lifetime)
		if got := m.ask(); got["cached"] != nil {
			t.Errorf("the entry has expired: got %v", got)
		}
	})
}

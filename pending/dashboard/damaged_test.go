package dashboard_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
)

// spoilt is a backend with damaged records only.
type spoilt struct{ *memory.Backend }

func (spoilt) Get(_ context.Context, _, id string) (backends.Record, error) {
	return backends.Record{}, &backends.CorruptError{ID: id, Err: errors.New(`version "g"`)}
}

func TestADamagedRecordDoesNotBlameTheBackend(t *testing.T) {
	w := newWorld(t, spoilt{memory.New()}, func(w *world) { w.config.Access = everything })
	id := backends.NewID(box)
	for _, path := range []string{page("request", "store", "jobs", "id", id),
		page("search", "q", id), page("cancel", "store", "jobs", "id", id)} {
		answer := w.ask(httptest.NewRequest("GET", path, nil))
		if answer.Code != http.StatusInternalServerError {
			t.Errorf("GET %s: %d, want 500", path, answer.Code)
		}
		w.shows(answer.Body.String(), "Its stored record is damaged")
		w.hides(answer.Body.String(), "Try again", "&#34;g&#34;")
	}
}

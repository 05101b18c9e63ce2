package remote_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

// A list has the path of a create. Its answer is no record.
func TestARedirectToTheSameHostDoesNotTurnACreateIntoAList(t *testing.T) {
	server, err := remote.Handler(newMemory(), remote.Config{
		Stores: []pending.Policy{policy("s")}, Access: everything{}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	moved := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/old"); ok {
			http.Redirect(w, r, "/pending"+rest+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		server.ServeHTTP(w, r)
	})
	c := newClient(t, serve(t, moved)+"/old", "tester")
	began := time.Now()
	rec, err := c.Create(t.Context(), question("s"))
	if err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("got %+v, %v, after %v", rec, err, time.Since(began))
	}
}

package poll_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/internal/poll"
)

// A proxy that answers 301, 302 or 303 makes net/http repeat a POST as a GET, without its body.
func TestNoRedirectTurnsAPostIntoAGet(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound,
		http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		server := httptest.NewServer(http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/old" {
					http.Redirect(w, r, "/new", status)
					return
				}
				_, _ = io.Copy(w, r.Body)
			}))
		client := poll.Client(server.Client())
		resp, err := client.Post(server.URL+"/old", "text/plain", strings.NewReader("a report"))
		var got []byte
		if err == nil {
			got, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		server.Close()
		keeps := status >= http.StatusTemporaryRedirect
		if keeps && string(got) != "a report" || !keeps && !errors.Is(err, poll.ErrRedirect) {
			t.Errorf("%d: got %q, %v", status, got, err)
		}
	}
}

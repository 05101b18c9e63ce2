package wire

import (
	"net/http"

	"github.com/pendingq/pendingq/internal/poll"
)

// Client returns a copy of an HTTP client that follows no redirect to another host or scheme: a
// call carries a token, and perhaps a skill. Nor does it follow a redirect that turns a POST into a
// GET.
func Client(base *http.Client) *http.Client { return poll.Client(base) }

package wire

import (
	"net/http"

	"github.com/pendingq/pendingq/internal/poll"
)

// Client returns a copy of an HTTP client that follows no redirect to another host or scheme. A
// call carries a token, and perhaps a skill.
func Client(base *http.Client) *http.Client { return poll.Client(base) }

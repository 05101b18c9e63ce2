// Package unsent keeps requests whose body never arrives from holding connections.
package unsent

import (
	"net/http"
	"time"
)

const bodyTime = 10 * time.Second

// Limit gives the body of a request 10 s to arrive. A handler calls it first, and sets other
// deadlines before it reads the body or waits. If a handler does not read the body, net/http does
// so before it answers. It has no deadline of its own, and Shutdown of the server waits for it. In
// HTTP/2 it does not read the body.
func Limit(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	}
}

package pending_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/pending"
)

// The Worker ends the request that it has claimed. It takes only the payload from the handler.
func TestAHandlerMayOverwriteItsClaim(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, twice())
		for name, overwrite := range map[string]func(c *jobClaim){
			"a fresh claim":   func(c *jobClaim) { *c = *held(t, s, c.ID, c.Attempt) },
			"an empty claim":  func(c *jobClaim) { *c = jobClaim{} },
			"another id":      func(c *jobClaim) { c.ID = backends.NewID(box) },
			"another attempt": func(c *jobClaim) { c.Attempt = 2 },
			"no mailbox":      func(c *jobClaim) { c.Mailbox = "" },
			"another status":  func(c *jobClaim) { c.Status = pending.StatusFailed },
		} {
			opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
			stop := work(t, s, opts, func(_ context.Context, c *jobClaim) error {
				overwrite(c)
				c.Payload.Output = name
				return nil
			})
			r := create(t, s)
			awaitWithin(t, s, r.ID, time.Second, pending.StatusCompleted, "")
			if got := get(t, s, r.ID); got.Payload.Output != name || got.Attempt != 1 {
				t.Errorf("%s: got %q at attempt %d", name, got.Payload.Output, got.Attempt)
			}
			stop()
		}
	})
}

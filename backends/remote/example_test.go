package remote_test

import (
	"bytes"
	"context"
	"os/exec"
	"testing"

	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/pending"
)

// TestTheExampleInJavaScript runs example.mjs against a worker. The worker answers requests about
// /home, and works on the others until it is told to stop.
func TestTheExampleInJavaScript(t *testing.T) {
	node := effort.Program(t, "node")
	r := newGracefulRig(t)
	work(t, newClient(t, r.url, box), func(ctx context.Context, _ *pending.PendingStore[backup],
		c *pending.Claim[backup]) error {
		if c.Payload.Folder != "/home" {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		c.Payload.Done = "yes"
		return nil
	})
	cmd := exec.CommandContext(t.Context(), node, "example.mjs", r.url, "token", "s", box)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	got, err := cmd.Output()
	want := "completed {\"folder\":\"/home\",\"done\":\"yes\"}\ncancelled no longer needed\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v, %s; want %q", got, err, problems.String(), want)
	}
}

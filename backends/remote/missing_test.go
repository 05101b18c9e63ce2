package remote_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
)

// A server answers 404 for a store that it does not list, and says nothing else.
func TestAClientNamesWhatTheServerLacks(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	lacking := poll("s", "x")
	_, created := r.client.Create(t.Context(), question("x"))
	_, claimed := r.client.Claim(t.Context(), lacking)
	many := r.client.ClaimMany(t.Context(), []backends.Claim{poll("s"), lacking})
	_, listed := r.client.List(t.Context(), "x", box, "", 1)
	_, looked := r.client.HasPending(t.Context(), "x", box)
	const x, sx = `no store "x"`, `no store "s" or no store "x"`
	for name, c := range map[string]struct {
		err  error
		says string
	}{"create": {created, x}, "claim": {claimed, sx}, "claims": {many[1].Err, sx},
		"list": {listed, x}, "has pending": {looked, x}} {
		says := "the server has " + c.says + `, or does not let this caller use mailbox "device-7"`
		if !errors.Is(c.err, pending.ErrNotFound) || !strings.Contains(c.err.Error(), says) {
			t.Errorf("%s: got %v", name, c.err)
		}
	}
	if many[0].Err != nil {
		t.Errorf("the claim beside it: got %v", many[0].Err)
	}
}

func TestTheServersLogNamesAStoreThatItLacks(t *testing.T) {
	logs := make(lines, 10)
	r := newRig(t, newMemory(), func(c *remote.Config) {
		c.Access, c.Logger = roles{}, slog.New(slog.NewTextHandler(logs, nil))
	})
	for _, store := range []string{"unknown", "t"} { // not served, and hidden from the caller
		for name, op := range operations(store, box, backends.NewID(box)) {
			if store == "t" && strings.Contains(op[1], "/requests/") {
				continue // the request does not exist
			}
			r.send(op[0], op[1], "the device", op[2])
			if line := <-logs; !strings.Contains(line, `store \"`+store+`\"`) {
				t.Errorf("%s, %s: the log says %s", store, name, line)
			}
		}
	}
}

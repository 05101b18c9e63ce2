package proof_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

// shape is what an answer says but for the times at which things happened: these are told by how
// far deadlines are from them.
func (c *call) shape() string {
	switch op := c.op.(type) {
	case backends.End:
		return endShape(c.rec, c.err, func(r backends.Record) bool {
			return said(r, op.Outcome, op.Error) && r.Attempt == op.Attempt && r.Codec == op.Codec &&
				bytes.Equal(r.Payload, op.Payload)
		})
	case backends.Cancel:
		return endShape(c.rec, c.err, func(r backends.Record) bool {
			return said(r, op.Outcome, op.Error)
		})
	case backends.Extend:
		if c.err == nil {
			return leaseShape(c.lease)
		}
	case backends.Claim:
		if c.err == nil {
			return claimShape(c.claimed)
		}
	case look:
		if c.err == nil {
			return fmt.Sprint(c.pending)
		}
	case backends.Create, get:
		if c.err == nil {
			return recordShape(c.rec)
		}
	}
	return errorShape(c.err)
}

// endShape takes the answer to one's own repeat for what it is. Own is the rule by which callers
// tell that an ending is their own.
func endShape(rec backends.Record, err error, own func(backends.Record) bool) string {
	var ended *backends.EndedError
	if errors.As(err, &ended) && own(ended.Record) {
		rec, err = ended.Record, nil
		rec.Codec, rec.Payload = "", nil
	}
	if err == nil {
		return "stands: " + recordShape(rec)
	}
	return errorShape(err)
}

func said(r backends.Record, outcome, reason string) bool {
	return r.Status == outcome && r.Error == reason
}

func leaseShape(l backends.Lease) string {
	return fmt.Sprintf("lasts %v, cancelled as %q %q",
		lasts(l.UpdatedAt, l.Deadline, l.CancelledAs), l.CancelledAs, l.CancelReason)
}

// lasts returns how far away a deadline was when it was set. That of a noted cancel may have been
// set a little earlier.
func lasts(updated, deadline time.Time, cancelledAs string) time.Duration {
	if cancelledAs != "" {
		return deadline.Sub(updated).Round(time.Minute)
	}
	return deadline.Sub(updated)
}

func claimShape(claimed []backends.Claimed) string {
	var text strings.Builder
	for i, from := range claimed {
		fmt.Fprintf(&text, "store %d:\n", i)
		for _, rec := range from.Records {
			fmt.Fprintln(&text, " ", recordShape(rec))
		}
		for _, err := range from.Errs {
			fmt.Fprintln(&text, " ", errorShape(err))
		}
	}
	return text.String()
}

func errorShape(err error) string {
	var ended *backends.EndedError
	var busy *backends.BusyError
	var corrupt *backends.CorruptError
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &ended):
		return "error: has ended: " + recordShape(ended.Record)
	case errors.As(err, &busy):
		return "error: busy with " + busy.ID
	case errors.As(err, &corrupt):
		return "error: corrupt " + corrupt.ID
	}
	for _, known := range []error{backends.ErrNotFound, backends.ErrStaleClaim, backends.ErrFull, context.Canceled} {
		if errors.Is(err, known) {
			return "error: " + known.Error()
		}
	}
	return "failure"
}

func recordShape(r backends.Record) string {
	live := "for ever"
	if !r.Ended() {
		live = fmt.Sprint(lasts(r.UpdatedAt, r.Deadline, r.CancelledAs), " and ",
			r.LastDeadline.Sub(r.Deadline))
	}
	return fmt.Sprintf("%s in %q: %s at attempt %d for %s, error %q, %s payload %q, started %v, "+
		"headers %#v, cancelled as %q %q", r.ID, r.Mailbox, r.Status, r.Attempt, live, r.Error, r.Codec,
		r.Payload, !r.StartedAt.IsZero(), r.Headers, r.CancelledAs, r.CancelReason)
}

// storageShape is all that is stored under a prefix, on whatever master: each key with what it
// holds and how long it will live, to the minute. What is stored by no known request, or for ever,
// shows as a difference to a storage that has only what should be there.
func storageShape(t *testing.T, client redis.UniversalClient, b backends.Backend, prefix string) string {
	t.Helper()
	var lines []string
	for _, key := range storedKeys(t, client, prefix) {
		ttl, err := client.PTTL(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl < 0 {
			t.Errorf("%s has no time to live", key)
		}
		name := strings.TrimPrefix(key, prefix)
		if store, payload, ok := strings.Cut(name, "/p/"); ok {
			if ttl <= 10*time.Second || refersTo(t, client, prefix, payload) {
				continue // of a call that was given up; or a part of a record, which is shown with it
			}
			name = store + "/p/ without a record"
		}
		lines = append(lines, fmt.Sprintf("%s for %v: %s", name, ttl.Round(time.Minute), keyShape(t, client, b, prefix, key)))
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// refersTo reports whether a record says that its payload has a key of this name.
func refersTo(t *testing.T, client redis.UniversalClient, prefix, name string) bool {
	t.Helper()
	return slices.ContainsFunc(storedKeys(t, client, prefix), func(key string) bool {
		return strings.Contains(key, "/r/") && strings.HasSuffix(client.Get(t.Context(), key).Val(), name)
	})
}

// storedKeys returns the keys under a prefix that a server has, or all masters of a Cluster.
func storedKeys(t *testing.T, client redis.UniversalClient, prefix string) (found []string) {
	t.Helper()
	var mu sync.Mutex
	scan := func(ctx context.Context, server *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		keys := server.Scan(ctx, 0, prefix+"*", 1000).Iterator()
		for keys.Next(ctx) {
			found = append(found, keys.Val())
		}
		return keys.Err()
	}
	var err error
	switch c := client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(t.Context(), scan)
	case *redis.Client:
		err = scan(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func keyShape(t *testing.T, client redis.UniversalClient, b backends.Backend, prefix, key string) string {
	t.Helper()
	_, after, _ := strings.Cut(key, "}:")
	parts := strings.SplitN(after, "/", 3)
	switch parts[1] {
	case "r":
		rec, err := b.Get(t.Context(), parts[0], parts[2])
		if err != nil {
			return err.Error()
		}
		return recordShape(rec)
	case "q":
		return fmt.Sprint(client.ZRange(t.Context(), key, 0, -1).Val())
	case "c":
		return startOfClaim.ReplaceAllString(strings.ReplaceAll(client.Get(t.Context(), key).Val(), prefix, ""), "*$1")
	}
	return client.Get(t.Context(), key).Val()
}

// startOfClaim is the time in a line of a memo.
var startOfClaim = regexp.MustCompile(`(?m)^\d{16}(\d{4} )`)

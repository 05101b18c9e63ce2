package remote_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
)

// listing is a backend that notes the largest limit of its List.
type listing struct {
	*memory.Backend
	largest int
}

func (l *listing) List(ctx context.Context, store, mailbox, after string, limit int) (
	backends.Page, error) {
	l.largest = max(l.largest, limit)
	return l.Backend.List(ctx, store, mailbox, after, limit)
}

func sorted(ids []string) []string { return slices.Sorted(slices.Values(ids)) }

// list returns the ids of all requests, and the number of requests of each page.
func (r *rig) list(limit int) (ids []string, sizes []int) {
	r.Helper()
	for after := ""; ; {
		page, err := r.client.List(r.Context(), "s", box, after, limit)
		if err != nil || len(page.Errs) > 0 {
			r.Fatal(err, page.Errs)
		}
		for _, rec := range page.Records {
			ids = append(ids, rec.ID)
		}
		sizes = append(sizes, len(page.Records))
		if after = page.Next; after == "" {
			return ids, sizes
		}
	}
}

func TestAPageHasManySmallRequests(t *testing.T) {
	b := &listing{Backend: memory.New()}
	r := newRig(t, b, func(c *remote.Config) { c.Stores[0].MaxPayload = 0 }) // 16 MiB
	var made []string
	for range 120 {
		made = append(made, r.create().ID)
	}
	ids, sizes := r.list(100)
	if diff := cmp.Diff([]int{100, 20}, sizes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(sorted(made), sorted(ids)); diff != "" {
		t.Error(diff)
	}
	if _, sizes := r.list(7); sizes[0] != 7 {
		t.Errorf("got pages of %v, want 7", sizes)
	}
	if b.largest > 4 { // 4 of 16 MiB are a caller's share
		t.Errorf("the backend was asked for %d requests at once, want at most 4", b.largest)
	}
}

func TestAPageOfLargeRequestsStaysWithinTheShare(t *testing.T) {
	const maxPayload, share = 1 << 20, 4 << 20
	r := newRig(t, &listing{Backend: memory.New()}, func(c *remote.Config) {
		c.MaxInFlight = 4 * share
	})
	var made []string
	for range 12 {
		large := question("s")
		large.Codec, large.Payload = "raw", make([]byte, maxPayload)
		if _, err := r.client.Create(t.Context(), large); err != nil {
			t.Fatal(err)
		}
		made = append(made, large.ID, r.create().ID)
	}
	ids, sizes := r.list(100)
	if diff := cmp.Diff(sorted(made), sorted(ids)); diff != "" {
		t.Error(diff)
	}
	for _, n := range sizes { // every second request is large
		if n > 2*share/maxPayload+1 {
			t.Errorf("got pages of %v requests, which are over the share", sizes)
		}
	}
}

package remote_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
)

// overdue is a backend whose Claim blocks until its context ends.
type overdue struct{ backends.Backend }

func (overdue) Claim(ctx context.Context, _ backends.Claim) ([]backends.Claimed, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestManyClaimsThatHangAreUnavailable(t *testing.T) {
	r := newRig(t, overdue{memory.New()}, func(c *remote.Config) {
		c.CallTimeout = 20 * time.Millisecond
	})
	got := r.send("POST", "/claim", "t", `{"claims":[`+
		`{"id":"1","mailbox":"a","from":[{"store":"s"}]},`+
		`{"id":"2","mailbox":"b","from":[{"store":"s"}]}]}`)
	if n := strings.Count(got.body, `"code":"unavailable"`); n != 2 {
		t.Errorf("got %+v, want two claims that are unavailable", got)
	}
}

// A machine may lose one of its mailboxes.
func TestAClaimThatIsRefusedFailsNoOther(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) { c.Access = roles{} })
	r.client = newClient(t, r.url, "the front end")
	made := r.create()
	lost, own := poll("s"), poll("s")
	lost.Mailbox = "lost"
	device := newClient(t, r.url, "the device")
	results := device.ClaimMany(t.Context(), []backends.Claim{lost, own, lost})
	for _, i := range []int{0, 2} {
		if !errors.Is(results[i].Err, backends.ErrNotFound) {
			t.Errorf("the lost mailbox: got %+v", results[i])
		}
	}
	if got := results[1]; got.Err != nil || len(got.Claimed[0].Records) != 1 ||
		got.Claimed[0].Records[0].ID != made.ID {
		t.Errorf("the other mailbox: got %+v", got)
	}
	if _, err := device.Claim(t.Context(), lost); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("a claim alone: got %v", err)
	}
}

// asked is a backend that notes the last claim.
type asked struct {
	backends.Backend
	claim backends.Claim
}

func (a *asked) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	a.claim = c
	return a.Backend.Claim(ctx, c)
}

func TestAClaimFromManyStoresFitsIntoTheShare(t *testing.T) {
	b := &asked{Backend: memory.New()}
	r := newRig(t, b, func(c *remote.Config) {
		c.Stores = append(c.Stores, policy("u"))
		c.Stores[0].MaxPayload = 5 << 20
		c.MaxInFlight = 4 * 10 << 20
	})
	c := poll("s", "t", "u")
	for i := range c.From {
		c.From[i].Limit = 100
	}
	if _, err := r.client.Claim(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	most := 0
	for i, from := range b.claim.From {
		most += from.Limit * []int{5, 1, 1}[i]
	}
	if most < 8 || most > 10 {
		t.Errorf("a claim of %+v is at most %d MiB, want about the share of 10 MiB",
			b.claim.From, most)
	}
}

func TestManyLargeClaimsFitIntoTheirBodies(t *testing.T) {
	r := newRig(t, newMemory(), func(c *remote.Config) {
		for i := range 60 {
			c.Stores = append(c.Stores, policy(fmt.Sprintf("store-%058d", i)))
		}
	})
	large := poll()
	for i := range 60 {
		name := fmt.Sprintf("store-%058d", i)
		large.From = append(large.From, backends.From{Terms: terms(name), Limit: 100})
	}
	var all []backends.Claim
	for range 70 {
		large.ID = backends.NewID(box)
		all = append(all, large)
	}
	results := r.client.ClaimMany(t.Context(), all)
	if len(results) != len(all) {
		t.Fatalf("got %d results, want %d", len(results), len(all))
	}
	for _, result := range results {
		if result.Err != nil || len(result.Claimed) != 60 {
			t.Fatalf("got %+v", result)
		}
	}
}

func TestAReportMayReturnTheStartOfItsClaim(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	rec := r.running()
	report := func(action, startedAt string) string {
		t.Helper()
		return r.send("POST", "/requests/"+rec.ID+action+"?store=s", "t",
			`{"attempt":1,"outcome":"completed","started_at":"`+startedAt+`"}`).code()
	}
	started := func(d time.Duration) string {
		return rec.StartedAt.Add(d).In(time.FixedZone("", 7200)).Format(time.RFC3339Nano)
	}
	for _, tc := range []struct{ startedAt, want string }{
		{started(-time.Microsecond), "stale_claim"},
		{"1969-12-31T23:59:59Z", "invalid"},
		{"yesterday", "invalid"},
		{"0001-01-01T00:00:00Z", ""}, // the worker does not know it
		{started(0), ""},
		{started(time.Nanosecond), ""},
	} {
		if got := report("/extend", tc.startedAt); got != tc.want {
			t.Errorf("extend of %s: got %q, want %q", tc.startedAt, got, tc.want)
		}
		if tc.want == "" {
			continue
		}
		if got := report("/end", tc.startedAt); got != tc.want {
			t.Errorf("end of %s: got %q, want %q", tc.startedAt, got, tc.want)
		}
	}
	if got := report("/end", started(0)); got != "" {
		t.Errorf("end: got %q", got)
	}
}

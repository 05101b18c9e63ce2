package goredis_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/redistest"
)

// trips is a hook that counts round trips.
type trips struct {
	passing
	atomic.Int64
}

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmds)
	}
}

func TestManyClaimsAreOneRoundTrip(t *testing.T) {
	client := redistest.Start(t).Client(t)
	b := newBackend(t, client, nil)
	store := lasting("s")
	var claims []backends.Claim
	want := map[string]string{} // mailbox by id
	for i := range 450 {
		mailbox := fmt.Sprint("runtime-", i)
		claims = append(claims, backends.Claim{ID: backends.NewID(mailbox), Mailbox: mailbox,
			From: []backends.From{{Terms: store, Limit: 1}}})
		if i%2 == 0 {
			c := question(store, mailbox)
			want[c.ID] = mailbox
			if _, err := b.Create(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(when string, most int64) {
		t.Helper()
		counted := &trips{}
		client.AddHook(counted)
		checkMailboxes(t, when, claims, b.ClaimMany(t.Context(), claims), want)
		if counted.Load() > most {
			t.Errorf("%s: %d round trips, want at most %d", when, counted.Load(), most)
		}
	}
	b.ClaimMany(t.Context(), claims[:1:1]) // opens the connection
	if err := client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	check("to a server that has lost its scripts", 4) // all, one by hash and in full, the rest
	check("repeated with the same claim ids", 1)
}

// checkMailboxes checks that claims got all wanted requests, each from its mailbox.
func checkMailboxes(t *testing.T, when string, claims []backends.Claim,
	results []backends.ClaimResult, want map[string]string) {
	t.Helper()
	got := 0
	for i, result := range results {
		if result.Err != nil {
			t.Fatalf("%s: claim %d: %v", when, i, result.Err)
		}
		for _, rec := range result.Claimed[0].Records {
			got++
			if want[rec.ID] != claims[i].Mailbox {
				t.Errorf("%s: claim %d of %s got %s", when, i, claims[i].Mailbox, rec.ID)
			}
		}
	}
	if got != len(want) {
		t.Errorf("%s: got %d requests, want %d", when, got, len(want))
	}
}

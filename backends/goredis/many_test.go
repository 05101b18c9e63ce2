package goredis_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
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

// lost is a hook that loses the replies to the first pipeline.
type lost struct {
	passing
	sync.Once
}

func (l *lost) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		l.Do(func() {
			err = io.EOF
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		})
		return err
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
	b.ClaimMany(t.Context(), claims[:2:2]) // opens the connection
	if err := client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	check("to a server that has lost its scripts", 4) // all, one by hash and in full, the rest
	check("repeated with the same claim ids", 1)
	client.AddHook(&lost{})
	check("after a lost reply", 3) // all, one alone, the rest
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

// One slot is moving, so its node refuses the claim for now. Other slots have moved, but the client
// does not know this yet. Each claim gets its own reply.
func TestClusterClaimsManyWhileSlotsMove(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	r, terms := newRig(t, c.Client(t)), lasting("s")
	mailboxes := mailboxesOf(0, 10)
	var claims []backends.Claim
	for _, mailbox := range mailboxes {
		r.create(terms, mailbox)
		claims = append(claims, heartbeat(mailbox, 1, terms))
	}
	for _, mailbox := range mailboxes[1:] {
		newRig(t, c.Client(t)).migrate(c, slotOf(mailbox), c.Masters[0], c.Masters[1])
	}
	r.startMoving(slotOf(mailboxes[0]), c.Masters[0], c.Masters[1])
	for i, result := range r.b.ClaimMany(t.Context(), claims) {
		switch {
		case i == 0 && (result.Err == nil || !strings.Contains(result.Err.Error(), "TRYAGAIN")):
			t.Errorf("from the moving slot: got %v, want TRYAGAIN", result.Err)
		case i > 0 && (result.Err != nil || len(result.Claimed[0].Records) != 1):
			t.Errorf("claim %d: got %v, want one request", i, result)
		}
	}
}

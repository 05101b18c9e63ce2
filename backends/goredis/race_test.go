package goredis_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// meanwhile is a hook that calls a function before the first read of payloads.
type meanwhile struct {
	passing
	happens func()
}

func (h *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if happens := h.happens; cmd.Name() == "mget" && happens != nil {
			h.happens = nil
			happens()
		}
		return next(ctx, cmd)
	}
}

// After a call has read a record, the request ends with another payload. Then the call reads the
// first payload.
func TestARequestMayEndWhileItsPayloadIsRead(t *testing.T) {
	server := redistest.Start(t)
	terms := lasting("s")
	for name, tc := range map[string]struct {
		claimed bool // before the call
		call    func(b *goredis.Backend, c backends.Create) (backends.Record, error)
		none    bool // the call has to return no request
	}{
		"Get":          {true, get, false},
		"Create again": {true, createAgain, false},
		"Claim":        {false, claimOne, true},
	} {
		for _, largeAnswer := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r, hook := newRig(t, server.Client(t)), &meanwhile{}
				r.large = largeAnswer
				c := large(terms, box)
				if _, err := r.b.Create(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if tc.claimed {
					r.claim(terms, box, 1)
				}
				client := server.Client(t)
				client.AddHook(hook)
				e := r.report(terms, c.ID, box, 1)
				running := backends.Record{ID: c.ID, Mailbox: box, Attempt: 1}
				hook.happens = func() { r.end(terms, running) }
				got, err := tc.call(newBackend(t, client, &goredis.Options{Prefix: r.prefix}), c)
				if hook.happens != nil {
					t.Error("the call has read no payload")
				}
				if err != nil || tc.none != (got.ID == "") {
					t.Fatalf("got %v, %v", got, err)
				}
				if tc.none {
					return
				}
				checkCompleted(t, got, e.Payload)
			})
		}
	}
}

func get(b *goredis.Backend, c backends.Create) (backends.Record, error) {
	return b.Get(context.Background(), c.Store, c.ID)
}

func createAgain(b *goredis.Backend, c backends.Create) (backends.Record, error) {
	return b.Create(context.Background(), c)
}

func claimOne(b *goredis.Backend, c backends.Create) (backends.Record, error) {
	claimed, err := b.Claim(context.Background(), heartbeat(c.Mailbox, 1, c.Terms))
	if err != nil || len(claimed[0].Records) == 0 {
		return backends.Record{}, errors.Join(append(claimed[0].Errs, err)...)
	}
	return claimed[0].Records[0], nil
}

// A server that is out of memory refuses new requests. All other requests continue, also large
// ones.
func TestFaultMemoryIsFullOfLargePayloads(t *testing.T) {
	r := newRig(t, redistest.Start(t).Client(t))
	terms := lasting("s")
	terms.MaxAttempts = 2
	made := map[string]backends.Create{}
	for _, mailbox := range []string{"claimed", "cancelled", "given up", "given up unclaimed",
		"ended", "ended small", "waits"} {
		c := large(terms, mailbox)
		if _, err := r.b.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		made[mailbox] = c
		if mailbox != "waits" && mailbox != "given up unclaimed" {
			r.claim(terms, mailbox, 1)
		}
	}
	r.do(r.client, "config", "set", "maxmemory-policy", "noeviction", "maxmemory", "1")
	before := len(r.dump())
	if _, err := r.b.Create(t.Context(), large(terms, "new")); !redis.HasErrorPrefix(err, "OOM") {
		t.Errorf("Create: got %v, want an error that says OOM", err)
	}
	if n := len(r.dump()); n != before {
		t.Errorf("the refused request has left %d keys", n-before)
	}
	r.extend(terms, backends.Record{ID: made["claimed"].ID, Attempt: 1})
	claimed := r.claim(terms, "waits", 1)
	if len(claimed) != 1 || !bytes.Equal(claimed[0].Payload, made["waits"].Payload) {
		t.Fatalf("Claim: got %d requests, want one with its payload", len(claimed))
	}
	r.endsWithoutMemory(terms, made)
}

// endsWithoutMemory ends requests, with their own or another payload.
func (r *rig) endsWithoutMemory(terms backends.Terms, made map[string]backends.Create) {
	r.Helper()
	check := func(mailbox string, err error, status string, want []byte) {
		r.Helper()
		if err != nil {
			r.Errorf("%s: %v", mailbox, err)
			return
		}
		got := r.get("s", made[mailbox].ID)
		if got.Status != status || !bytes.Equal(got.Payload, want) {
			r.Errorf("%s: got %s with %d bytes, want %s with %d",
				mailbox, got.Status, len(got.Payload), status, len(want))
		}
	}
	for mailbox, status := range map[string]string{"cancelled": backends.StatusRunning,
		"given up": backends.StatusTimeout, "given up unclaimed": backends.StatusTimeout} {
		c := gaveUp(terms, made[mailbox].ID)
		if status == backends.StatusRunning {
			c.Grace = time.Minute
		}
		_, err := r.b.Cancel(r.Context(), c)
		check(mailbox, err, status, made[mailbox].Payload)
	}
	for mailbox, large := range map[string]bool{"ended": true, "ended small": false} {
		r.large = large
		e := r.report(terms, made[mailbox].ID, mailbox, 1)
		_, err := r.b.End(r.Context(), e)
		check(mailbox, err, e.Outcome, e.Payload)
	}
}

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

// meanwhile is a hook that has something happen before payloads are read, the first time.
type meanwhile struct{ happens func() }

func (h *meanwhile) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if happens := h.happens; cmd.Name() == "mget" && happens != nil {
			h.happens = nil
			happens()
		}
		return next(ctx, cmd)
	}
}

func (h *meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A call has read a record. The request ends with another payload before the call reads the first.
func TestRequestsThatEndWhileTheirPayloadIsRead(t *testing.T) {
	server := redistest.Start(t)
	terms := lasting("s")
	for name, tc := range map[string]struct {
		claimed bool // before the call
		call    func(b *goredis.Backend, c backends.Create) (backends.Record, error)
		none    bool // the call returns no request
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
				hook.happens = func() { r.end(terms, backends.Record{ID: c.ID, Mailbox: box, Attempt: 1}) }
				got, err := tc.call(newBackend(t, client, &goredis.Options{Prefix: r.prefix}), c)
				if hook.happens != nil {
					t.Error("no payload was read: the test tests nothing")
				}
				if err != nil || tc.none != (got.ID == "") {
					t.Fatalf("got %v, %v", got, err)
				}
				if tc.none {
					return
				}
				if got.Status != backends.StatusCompleted || !bytes.Equal(got.Payload, e.Payload) {
					t.Errorf("got it %s with %d bytes, want the answer", got.Status, len(got.Payload))
				}
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

// A server without memory refuses new requests. It lets all others go on, however large they are.
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
		t.Errorf("what was refused has left %d keys", n-before)
	}
	r.extend(terms, backends.Record{ID: made["claimed"].ID, Attempt: 1})
	claimed := r.claim(terms, "waits", 1)
	if len(claimed) != 1 || !bytes.Equal(claimed[0].Payload, made["waits"].Payload) {
		t.Fatalf("Claim: got %d requests, want one with its payload", len(claimed))
	}
	r.endsWithoutMemory(terms, made)
}

// endsWithoutMemory ends requests, with their own payload or another.
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
			r.Errorf("%s: got it %s with %d bytes", mailbox, got.Status, len(got.Payload))
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

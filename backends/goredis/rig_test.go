package goredis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
)

// rig is a backend on servers that things happen to. Its methods end the test when something that
// should work does not.
type rig struct {
	*testing.T
	b      *goredis.Backend
	client redis.UniversalClient
	prefix string
	large  bool // so are the answers of steps and end
}

// newRig returns a rig with keys of its own.
func newRig(t *testing.T, client redis.UniversalClient) *rig {
	t.Helper()
	return newPipeliningRig(t, client, goredis.AutoPipelineNever)
}

func newPipeliningRig(t *testing.T, client redis.UniversalClient, mode goredis.AutoPipeline) *rig {
	t.Helper()
	prefix := newPrefix(t)
	b := newBackend(t, client, &goredis.Options{Prefix: prefix, AutoPipeline: mode})
	return &rig{T: t, b: b, client: client, prefix: prefix}
}

// pipelining is every way to send commands.
var pipelining = map[string]goredis.AutoPipeline{"one at a time": goredis.AutoPipelineNever,
	"by load": goredis.AutoPipelineByLoad, "always": goredis.AutoPipelineAlways}

// lasting are terms under which nothing times out while a test runs.
func lasting(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: time.Hour, RunningTimeout: time.Hour, Retention: time.Hour,
		MaxAttempts: 1}
}

const box = "runtime-1" // the mailbox of tests that need only one

func question(terms backends.Terms, mailbox string) backends.Create {
	return backends.Create{Terms: terms, ID: backends.NewID(mailbox), Mailbox: mailbox, Codec: "raw",
		Payload: []byte("question")}
}

func heartbeat(mailbox string, limit int, stores ...backends.Terms) backends.Claim {
	c := backends.Claim{ID: backends.NewID(mailbox), Mailbox: mailbox}
	for _, terms := range stores {
		c.From = append(c.From, backends.From{Terms: terms, Limit: limit})
	}
	return c
}

func report(terms backends.Terms, id string, attempt int) backends.End {
	return backends.End{Terms: terms, ID: id, Outcome: backends.StatusCompleted, Attempt: attempt, Codec: "raw",
		Payload: []byte("answer")}
}

// gaveUp is the cancel of a requester that gives up at once.
func gaveUp(terms backends.Terms, id string) backends.Cancel {
	return backends.Cancel{Terms: terms, ID: id, Outcome: backends.StatusTimeout, Error: "gave up"}
}

// report ends a request with an answer that is as large as the rig wants it.
func (r *rig) report(terms backends.Terms, id, mailbox string, attempt int) backends.End {
	e := report(terms, id, attempt)
	e.Mailbox = mailbox
	if r.large {
		e.Payload = bytes.Repeat([]byte("answer"), 10_000)
	}
	return e
}

func (r *rig) create(terms backends.Terms, mailbox string) backends.Record {
	r.Helper()
	rec, err := r.b.Create(r.Context(), question(terms, mailbox))
	if err != nil {
		r.Fatalf("Create: %v", err)
	}
	return rec
}

// claim returns what up to limit requests of one store's mailbox a claim gets.
func (r *rig) claim(terms backends.Terms, mailbox string, limit int) []backends.Record {
	r.Helper()
	claimed, err := r.b.Claim(r.Context(), heartbeat(mailbox, limit, terms))
	if err != nil || len(claimed[0].Errs) > 0 {
		r.Fatalf("Claim: %v %v", err, claimed)
	}
	return claimed[0].Records
}

func (r *rig) get(store, id string) backends.Record {
	r.Helper()
	rec, err := r.b.Get(r.Context(), store, id)
	if err != nil {
		r.Fatalf("Get: %v", err)
	}
	return rec
}

func (r *rig) end(terms backends.Terms, rec backends.Record) {
	r.Helper()
	if _, err := r.b.End(r.Context(), r.report(terms, rec.ID, rec.Mailbox, rec.Attempt)); err != nil {
		r.Fatalf("End: %v", err)
	}
}

func (r *rig) extend(terms backends.Terms, rec backends.Record) {
	r.Helper()
	if _, err := r.b.Extend(r.Context(), backends.Extend{Terms: terms, ID: rec.ID, Attempt: rec.Attempt}); err != nil {
		r.Fatalf("Extend: %v", err)
	}
}

// lifecycle creates, claims, extends, ends and reads a request.
func (r *rig) lifecycle(terms backends.Terms, mailbox string) {
	r.Helper()
	made := r.create(terms, mailbox)
	got := r.claim(terms, mailbox, 1)
	if len(got) != 1 || got[0].ID != made.ID {
		r.Fatalf("claimed %v, want %s", got, made.ID)
	}
	r.extend(terms, got[0])
	r.end(terms, got[0])
	if rec := r.get(terms.Store, made.ID); rec.Status != backends.StatusCompleted {
		r.Fatalf("got %s, want it completed", rec.Status)
	}
}

type step struct {
	name string
	call func(ctx context.Context) error
}

// steps are the calls in the life of a request.
func (r *rig) steps(c backends.Create) []step {
	return []step{
		{"Create", func(ctx context.Context) error { _, err := r.b.Create(ctx, c); return err }},
		{"HasPending", func(ctx context.Context) error { _, err := r.b.HasPending(ctx, c.Store, c.Mailbox); return err }},
		{"Claim", func(ctx context.Context) error {
			poll := heartbeat(c.Mailbox, 10, c.Terms)
			poll.ID = c.ID // any that stays the same
			claimed, err := r.b.Claim(ctx, poll)
			for _, from := range claimed {
				err = errors.Join(append(from.Errs, err)...)
			}
			return err
		}},
		{"Extend", func(ctx context.Context) error {
			_, err := r.b.Extend(ctx, backends.Extend{Terms: c.Terms, ID: c.ID, Attempt: 1})
			return err
		}},
		{"Get", func(ctx context.Context) error { _, err := r.b.Get(ctx, c.Store, c.ID); return err }},
		{"End at another attempt", func(ctx context.Context) error {
			_, err := r.b.End(ctx, r.report(c.Terms, c.ID, c.Mailbox, 2))
			if errors.Is(err, backends.ErrStaleClaim) {
				return nil
			}
			return errors.Join(err, errors.New("it was not refused")) // with why, if that is known
		}},
		{"End", func(ctx context.Context) error {
			_, err := r.b.End(ctx, r.report(c.Terms, c.ID, c.Mailbox, 1))
			return err
		}},
		{"Get the answer", func(ctx context.Context) error {
			rec, err := r.b.Get(ctx, c.Store, c.ID)
			if want := r.report(c.Terms, c.ID, c.Mailbox, 1).Payload; err == nil && !bytes.Equal(rec.Payload, want) {
				return fmt.Errorf("got %d bytes, want the %d of the answer", len(rec.Payload), len(want))
			}
			return err
		}},
	}
}

// dump returns the values of all keys of the rig, except of payloads that nothing has accepted:
// these expire within seconds.
func (r *rig) dump() map[string]string {
	r.Helper()
	values := map[string]string{}
	keys := r.client.Scan(r.Context(), 0, r.prefix+"*", 1000).Iterator()
	for keys.Next(r.Context()) {
		key := keys.Val()
		if strings.Contains(key, "/p/") && r.client.PTTL(r.Context(), key).Val() <= 10*time.Second {
			continue
		}
		values[key] = r.client.Dump(r.Context(), key).Val()
	}
	return values
}

// reset makes the server hold these values alone.
func (r *rig) reset(values map[string]string) {
	r.Helper()
	r.do(r.client, "flushall")
	for key, value := range values {
		r.do(r.client, "restore", key, 3_600_000, value)
	}
}

// until polls a condition, and fails after a minute.
func (r *rig) until(what string, condition func() bool) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	for !condition() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			r.Fatalf("gave up waiting until %s", what)
		}
	}
}

// insist repeats a call, as a caller may, until a server has decided it, and returns what it
// decided.
func insist(ctx context.Context, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := once(ctx, call)
		if err == nil || decided(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// once makes a call that may take a second.
func once(ctx context.Context, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return call(ctx)
}

// decided tells a refusal by the backend from a failure to reach it.
func decided(err error) bool {
	for _, refusal := range []error{backends.ErrNotFound, backends.ErrEnded, backends.ErrStaleClaim, backends.ErrBusy, backends.ErrFull} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

package goredis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
)

// rig is a backend, its client, and helpers for tests. A helper ends the test when a call fails.
type rig struct {
	*testing.T
	b      *goredis.Backend
	client redis.UniversalClient
	prefix string
	large  bool // steps and end use large answers
}

// newRig returns a rig with its own prefix.
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

// pipelining has every mode of AutoPipeline.
var pipelining = map[string]goredis.AutoPipeline{"one at a time": goredis.AutoPipelineNever,
	"by load": goredis.AutoPipelineByLoad, "always": goredis.AutoPipelineAlways}

// lasting are terms under which nothing expires during a test.
func lasting(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: time.Hour, RunningTimeout: time.Hour,
		Retention: time.Hour, MaxAttempts: 1}
}

const box = "runtime-1" // the mailbox of tests with one mailbox

func question(terms backends.Terms, mailbox string) backends.Create {
	return backends.Create{Terms: terms, ID: backends.NewID(mailbox), Mailbox: mailbox,
		Codec: "raw", Payload: []byte("question")}
}

func heartbeat(mailbox string, limit int, stores ...backends.Terms) backends.Claim {
	c := backends.Claim{ID: backends.NewID(mailbox), Mailbox: mailbox}
	for _, terms := range stores {
		c.From = append(c.From, backends.From{Terms: terms, Limit: limit})
	}
	return c
}

func report(terms backends.Terms, id string, attempt int) backends.End {
	return backends.End{Terms: terms, ID: id, Outcome: backends.StatusCompleted, Attempt: attempt,
		Codec: "raw", Payload: []byte("answer")}
}

// gaveUp cancels a request without a grace.
func gaveUp(terms backends.Terms, id string) backends.Cancel {
	return backends.Cancel{Terms: terms, ID: id, Outcome: backends.StatusTimeout, Error: "gave up"}
}

// report ends a request with an answer, which is large if the rig's answers are.
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

// claim claims up to limit requests from a mailbox of one store.
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
	_, err := r.b.End(r.Context(), r.report(terms, rec.ID, rec.Mailbox, rec.Attempt))
	if err != nil {
		r.Fatalf("End: %v", err)
	}
}

func (r *rig) extend(terms backends.Terms, rec backends.Record) {
	r.Helper()
	e := backends.Extend{Terms: terms, ID: rec.ID, Attempt: rec.Attempt}
	if _, err := r.b.Extend(r.Context(), e); err != nil {
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
		r.Fatalf("got the status %s, want completed", rec.Status)
	}
}

// checkCompleted checks that a request of the store s has completed with an answer.
func (r *rig) checkCompleted(id string, answer []byte) {
	r.Helper()
	checkCompleted(r.T, r.get("s", id), answer)
}

func checkCompleted(t *testing.T, got backends.Record, answer []byte) {
	t.Helper()
	if got.Status != backends.StatusCompleted || !bytes.Equal(got.Payload, answer) {
		t.Errorf("got %s with %d bytes, want completed with %d",
			got.Status, len(got.Payload), len(answer))
	}
}

type step struct {
	name string
	call func(ctx context.Context) error
}

// steps are the calls in the life of a request.
func (r *rig) steps(c backends.Create) []step {
	poll := heartbeat(c.Mailbox, 10, c.Terms)
	poll.ID = c.ID // any id that stays the same
	extend := backends.Extend{Terms: c.Terms, ID: c.ID, Attempt: 1}
	end, stale := r.report(c.Terms, c.ID, c.Mailbox, 1), r.report(c.Terms, c.ID, c.Mailbox, 2)
	return []step{
		{"Create", call(r.b.Create, c)},
		{"HasPending", func(ctx context.Context) error {
			_, err := r.b.HasPending(ctx, c.Store, c.Mailbox)
			return err
		}},
		{"Claim", func(ctx context.Context) error {
			claimed, err := r.b.Claim(ctx, poll)
			for _, from := range claimed {
				err = errors.Join(append(from.Errs, err)...)
			}
			return err
		}},
		{"Extend", call(r.b.Extend, extend)},
		{"Get", func(ctx context.Context) error {
			_, err := r.b.Get(ctx, c.Store, c.ID)
			return err
		}},
		{"End at another attempt", func(ctx context.Context) error {
			_, err := r.b.End(ctx, stale)
			if errors.Is(err, backends.ErrStaleClaim) {
				return nil
			}
			return errors.Join(err, errors.New("want ErrStaleClaim"))
		}},
		{"End", call(r.b.End, end)},
		{"Get the answer", func(ctx context.Context) error {
			rec, err := r.b.Get(ctx, c.Store, c.ID)
			if err == nil && !bytes.Equal(rec.Payload, end.Payload) {
				return fmt.Errorf("got %d bytes, want the answer of %d",
					len(rec.Payload), len(end.Payload))
			}
			return err
		}},
	}
}

// call makes a call with an argument, and drops its result.
func call[A, R any](method func(context.Context, A) (R, error), arg A) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := method(ctx, arg)
		return err
	}
}

// dump returns the values of all keys of the rig, each with its time to live in hours. It leaves
// out staged payloads, which expire within seconds.
func (r *rig) dump() map[string]string {
	r.Helper()
	values := map[string]string{}
	keys := r.client.Scan(r.Context(), 0, r.prefix+"*", 1000).Iterator()
	for keys.Next(r.Context()) {
		key := keys.Val()
		ttl := r.client.PTTL(r.Context(), key).Val()
		if strings.Contains(key, "/p/") && ttl <= 10*time.Second {
			continue
		}
		values[key] = fmt.Sprintf("%.0f %s", ttl.Hours(), r.client.Dump(r.Context(), key).Val())
	}
	return values
}

// reset replaces all keys of the server by these values. Each lives for nine hours, which no call
// of a test sets.
func (r *rig) reset(values map[string]string) {
	r.Helper()
	r.do(r.client, "flushall")
	for key, value := range values {
		_, value, _ = strings.Cut(value, " ")
		r.do(r.client, "restore", key, 9*3_600_000, value)
	}
}

// until polls a condition, and fails after a minute.
func (r *rig) until(what string, condition func() bool) {
	r.Helper()
	eventually(r.T, what, condition)
}

// insist repeats a call until a server has decided it, and returns the decision.
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

// once makes a call with a timeout of a second.
func once(ctx context.Context, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return call(ctx)
}

// decided reports whether an error is a refusal by the backend, not a failure to reach it.
func decided(err error) bool {
	return slices.ContainsFunc([]error{backends.ErrNotFound, backends.ErrEnded,
		backends.ErrStaleClaim, backends.ErrBusy, backends.ErrFull},
		func(refusal error) bool { return errors.Is(err, refusal) })
}

package goredis_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// behind is a hook that replies to every MGET like a replica that does not have the payloads yet.
type behind struct {
	passing
	reads int
}

func (h *behind) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		mget, ok := cmd.(*redis.SliceCmd)
		if !ok {
			return next(ctx, cmd)
		}
		h.reads++
		mget.SetVal(make([]any, len(cmd.Args())-1))
		return nil
	}
}

func TestLargePayloadsAreReadAlthoughTheReplicaIsBehind(t *testing.T) {
	server := redistest.Start(t)
	r := newRig(t, server.Client(t))
	r.large = true
	terms := lasting("s")
	made := r.create(terms, box)
	r.end(terms, r.claim(terms, box, 1)[0])
	client, replica := server.Client(t), &behind{}
	client.AddHook(replica)
	reader := &rig{T: t, b: newBackend(t, client, &goredis.Options{Prefix: r.prefix})}
	reader.checkCompleted(made.ID, r.report(terms, made.ID, box, 1).Payload)
	if replica.reads != 1 {
		t.Errorf("the replica was asked %d times, want once", replica.reads)
	}
}

// large is a new request with a question that has its own key.
func large(terms backends.Terms, mailbox string) backends.Create {
	c := question(terms, mailbox)
	c.Payload = bytes.Repeat([]byte("question"), 1_000)
	return c
}

func TestLargeQuestionsComeBackFromEveryCall(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	terms, other := lasting("s"), lasting("other")
	terms.MaxAttempts = 2
	c, small, third := large(terms, box), question(terms, box), large(other, box)
	for _, c := range []backends.Create{c, small, third} {
		if _, err := r.b.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	check := func(call string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes, want %d", call, len(got), len(want))
		}
	}
	again, err := r.b.Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	check("Create again", again.Payload, c.Payload)
	check("Get", r.get("s", c.ID).Payload, c.Payload)
	poll := heartbeat(box, 10, terms, other)
	for _, call := range []string{"Claim", "Claim again"} {
		claimed, err := r.b.Claim(t.Context(), poll)
		if err != nil || len(claimed[0].Records) != 2 || len(claimed[1].Records) != 1 {
			t.Fatalf("%s: got %v, %v, want all three requests", call, claimed, err)
		}
		want := map[string][]byte{c.ID: c.Payload, small.ID: small.Payload}
		for _, rec := range claimed[0].Records {
			check(call, rec.Payload, want[rec.ID])
		}
		check(call, claimed[1].Records[0].Payload, third.Payload)
	}
	giveUp := gaveUp(terms, c.ID)
	if _, err := r.b.Cancel(t.Context(), giveUp); err != nil {
		t.Fatal(err)
	}
	check("Get after giving up", r.get("s", c.ID).Payload, c.Payload)
	var ended *backends.EndedError
	if _, err := r.b.Cancel(t.Context(), giveUp); !errors.As(err, &ended) {
		t.Fatalf("Cancel again: got %v, want an EndedError", err)
	}
	check("Cancel again", ended.Record.Payload, c.Payload)
}

// A payload lives as long as its record after each change of the record's time to live.
func TestLargePayloadsLiveAsLongAsTheirRecords(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	terms := lasting("s")
	terms.RunningTimeout = 3 * time.Hour
	r.large = true
	c := large(terms, box)
	if _, err := r.b.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r.sameLives("pending")
	running := r.claim(terms, box, 1)[0]
	r.sameLives("claimed")
	if _, err := r.b.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r.sameLives("created again")
	terms.RunningTimeout = 9 * time.Hour
	r.extend(terms, running)
	r.sameLives("extended")
	progress := r.report(terms, running.ID, box, running.Attempt)
	_, err := r.b.Extend(t.Context(), backends.Extend{Terms: terms, ID: running.ID, Mailbox: box,
		Attempt: running.Attempt, Codec: progress.Codec, Payload: progress.Payload})
	if err != nil {
		t.Fatal(err)
	}
	r.sameLives("with progress")
	r.end(terms, running)
	r.sameLives("ended")
	_, err = r.b.End(t.Context(), r.report(terms, running.ID, box, 1))
	if !errors.Is(err, backends.ErrEnded) {
		t.Fatalf("got %v, want ErrEnded", err)
	}
	r.sameLives("ended again")
}

// sameLives checks that the only record and its payload live equally long.
func (r *rig) sameLives(when string) {
	r.Helper()
	ttl := map[string]time.Duration{}
	for key := range r.dump() {
		for _, kind := range []string{"/r/", "/p/"} {
			if strings.Contains(key, kind) {
				ttl[kind] = r.client.PTTL(r.Context(), key).Val()
			}
		}
	}
	if len(ttl) != 2 || (ttl["/r/"]-ttl["/p/"]).Abs() > time.Minute {
		r.Errorf("%s: the record lives for %v, its payload for %v", when, ttl["/r/"], ttl["/p/"])
	}
}

// A question is gone, for example evicted. Its worker can still extend and answer, and its
// requester can cancel.
func TestARequestWhosePayloadIsGoneCanStillEnd(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	terms := lasting("s")
	grace := gaveUp(terms, "")
	grace.Grace = time.Minute
	for _, c := range []backends.Cancel{gaveUp(terms, ""), grace} {
		made := large(terms, box)
		if _, err := r.b.Create(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		running := r.claim(terms, box, 1)[0]
		for key := range r.dump() {
			if strings.Contains(key, "/p/") {
				r.do(r.client, "del", key)
			}
		}
		r.extend(terms, running)
		c.ID = made.ID
		if _, err := r.b.Cancel(t.Context(), c); err != nil {
			t.Errorf("Cancel with the grace %v: %v", c.Grace, err)
		}
		if c.Grace > 0 {
			r.end(terms, running)
			r.checkCompleted(made.ID, report(terms, made.ID, 1).Payload)
		}
	}
}

// A payload's key has another type. A claim and a listing return the other requests all the same.
func TestAPayloadOfAnotherTypeHindersNoOtherRequest(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	terms := lasting("s")
	damaged := large(terms, box)
	if _, err := r.b.Create(t.Context(), damaged); err != nil {
		t.Fatal(err)
	}
	for key := range r.dump() {
		if strings.Contains(key, "/p/") {
			r.plant(key)
		}
	}
	healthy := r.create(terms, box)
	check := func(name string, recs []backends.Record, errs []error, err error) {
		var corrupt *backends.CorruptError
		if err != nil || len(recs) != 1 || recs[0].ID != healthy.ID || len(errs) != 1 ||
			!errors.As(errs[0], &corrupt) || corrupt.ID != damaged.ID {
			t.Errorf("%s: got %v, %v and %v, want the other request and a CorruptError",
				name, recs, errs, err)
		}
	}
	page, err := r.b.List(t.Context(), "s", box, "", 10)
	check("List", page.Records, page.Errs, err)
	claimed, err := r.b.Claim(t.Context(), heartbeat(box, 10, terms))
	if err != nil {
		t.Fatal(err)
	}
	check("Claim", claimed[0].Records, claimed[0].Errs, err)
}

func TestLargeAnswersThatAreRefusedLeaveNothing(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	r.large = true
	terms := lasting("s")
	r.create(terms, "running")
	running := r.claim(terms, "running", 1)[0]
	r.create(terms, "ended")
	ended := r.claim(terms, "ended", 1)[0]
	r.end(terms, ended)
	before := r.dump()
	for name, e := range map[string]backends.End{
		"at another attempt":    r.report(terms, running.ID, running.Mailbox, 2),
		"again":                 r.report(terms, ended.ID, ended.Mailbox, 1),
		"of an unknown request": r.report(terms, backends.NewID(box), box, 1),
	} {
		if _, err := r.b.End(t.Context(), e); !decided(err) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
		if !maps.Equal(r.dump(), before) {
			t.Errorf("%s: the refused call has changed a key", name)
		}
	}
}

// The mailbox of a call is only a hint. It may be wrong.
func TestLargeAnswersNeedNotNameTheirMailbox(t *testing.T) {
	r := newRig(t, redistest.Client(t))
	r.large = true
	terms := lasting("s")
	made := r.create(terms, box)
	r.claim(terms, box, 1)
	e := r.report(terms, made.ID, "another", 1)
	if _, err := r.b.End(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	r.checkCompleted(made.ID, e.Payload)
	if got := r.get("s", made.ID).Mailbox; got != box {
		t.Errorf("got the mailbox %q, want %q", got, box)
	}
}

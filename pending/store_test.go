package pending_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

func TestARequestGoesFromQuestionToAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		made := create(t, s)
		start := made.CreatedAt
		want := jobRequest{
			ID:        made.ID,
			Mailbox:   box,
			Status:    pending.StatusPending,
			Payload:   job{Command: "uptime", Owner: "ada"},
			CreatedAt: start,
			UpdatedAt: start,
			Deadline:  start.Add(time.Minute),
		}
		checkRequest(t, made, want)

		calls.Pass(time.Second) // the claim's times differ from the creation's
		claimed := pop(t, s)
		want.Status, want.Attempt = pending.StatusRunning, 1
		want.StartedAt, want.UpdatedAt = claimed.StartedAt, claimed.StartedAt
		want.Deadline = claimed.StartedAt.Add(2 * time.Minute)
		checkRequest(t, &claimed.Request, want)
		if claimed.StartedAt.Sub(start) < time.Second {
			t.Errorf("claimed at %v, created at %v", claimed.StartedAt, start)
		}

		claimed.Payload.Output = "up 3 days"
		mustDo(t, s.Complete(t.Context(), claimed))
		want.Status, want.Payload = pending.StatusCompleted, claimed.Payload
		want.UpdatedAt = claimed.UpdatedAt
		checkRequest(t, &claimed.Request, want)
		checkRequest(t, get(t, s, made.ID), want)
	})
}

func checkRequest(t *testing.T, got *jobRequest, want jobRequest) {
	t.Helper()
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("the request differs (-want +got):\n%s", diff)
	}
}

func TestACallerMayChangeItsPayload(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		payload := job{Env: map[string]string{"A": "1"}}
		made, err := s.Create(t.Context(), box, payload)
		mustDo(t, err)
		payload.Env["A"] = "changed"
		if made.Payload.Env["A"] != "1" {
			t.Error("the returned request shares memory with the caller's payload")
		}
		made.Payload.Env["A"] = "changed"
		if got := get(t, s, made.ID).Payload.Env["A"]; got != "1" {
			t.Errorf("the stored payload changed to %q", got)
		}
	})
}

func TestInvalidPoliciesAreRefused(t *testing.T) {
	for want, change := range map[string]func(*pending.Policy){
		"Name":             func(p *pending.Policy) { p.Name = "" },
		"Name \"Jobs\"":    func(p *pending.Policy) { p.Name = "Jobs" },
		"Name \"a/b\"":     func(p *pending.Policy) { p.Name = "a/b" },
		"Name \"xxxx":      func(p *pending.Policy) { p.Name = strings.Repeat("x", 65) },
		"PendingTimeout":   func(p *pending.Policy) { p.PendingTimeout = 0 },
		"RunningTimeout":   func(p *pending.Policy) { p.RunningTimeout = time.Millisecond - 1 },
		"Retention":        func(p *pending.Policy) { p.Retention = -time.Hour },
		"Retention is 876": func(p *pending.Policy) { p.Retention = 10*365*24*time.Hour + 1 },
		"MaxAttempts":      func(p *pending.Policy) { p.MaxAttempts = 10_000 },
		"MaxPending":       func(p *pending.Policy) { p.MaxPending = -1 },
		"MaxPayload":       func(p *pending.Policy) { p.MaxPayload = 256<<20 + 1 },
		"not 1 to 32":      func(p *pending.Policy) { p.Outcomes = []pending.Status{"Nope"} },
		"taken":            func(p *pending.Policy) { p.Outcomes = []pending.Status{"ok", "ok"} },
		"\"timeout\"":      func(p *pending.Policy) { p.Outcomes = []pending.Status{"timeout"} },
	} {
		p := policy()
		change(&p)
		_, err := pending.New(memory.New(), codec.JSON[job](), p)
		checkInvalid(t, err, want)
	}
}

func TestAStoreKeepsItsOutcomes(t *testing.T) {
	p := policy()
	s := newStore(t, memory.New(), p)
	p.Outcomes[0] = "changed"
	create(t, s)
	c := pop(t, s)
	checkInvalid(t, s.Finish(t.Context(), c, "changed"), "changed")
	mustDo(t, s.Finish(t.Context(), c, "conflict"))
}

func TestNilOptionsAreSkipped(t *testing.T) {
	s, err := pending.New(memory.New(), codec.JSON[job](), policy(), nil)
	mustDo(t, err)
	r := create(t, s, nil)
	mustDo(t, failure(s.Get(t.Context(), r.ID, nil, pending.InMailbox(box))))
	pop(t, s, nil)
}

// badName is a codec whose name cannot stand in a record.
type badName struct{ codec.Codec[job] }

func (badName) Name() string { return "a b" }

func TestInvalidStoresAreRefused(t *testing.T) {
	_, noBackend := pending.New(nil, codec.JSON[job](), policy())
	_, noCodec := pending.New[job](memory.New(), nil, policy())
	_, name := pending.New(memory.New(), codec.Codec[job](badName{codec.JSON[job]()}), policy())
	_, twoCodecs := pending.New(memory.New(), codec.JSON[job](), policy(),
		pending.AlsoReads(codec.JSON[job]()))
	_, lossy := pending.New(memory.New(), codec.JSON[struct{ X any }](), policy())
	_, lossyToo := pending.New(memory.New(), codec.JSON[hidesForMsgpack](), policy(),
		pending.AlsoReads(codec.Msgpack[hidesForMsgpack]()))
	for want, err := range map[string]error{
		"backend is nil":    noBackend,
		"codec is nil":      noCodec,
		`"a b"`:             name,
		"two codecs":        twoCodecs,
		".X: an interface":  lossy,
		"hidesForMsgpack.X": lossyToo,
	} {
		checkInvalid(t, err, want)
	}
}

func TestANilPointerIsNoBackendAndNoCodec(t *testing.T) {
	_, noBackend := pending.New((*memory.Backend)(nil), codec.JSON[job](), policy())
	_, noCodec := pending.New[job](memory.New(), (*badName)(nil), policy())
	for want, err := range map[string]error{"backend is nil": noBackend, "codec is nil": noCodec} {
		checkInvalid(t, err, want)
	}
}

type hidesForMsgpack struct {
	X string `msgpack:"-"`
}

// failure returns the error of a call.
func failure[T any](_ T, err error) error { return err }

func TestInvalidArgumentsOfARequesterStoreNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s, ctx := newStore(t, b, policy()), t.Context()
		made := create(t, s)
		long, noKey := strings.Repeat("x", 513), pending.WithIdempotencyKey("")
		for want, err := range map[string]error{
			"mailbox is empty":    failure(s.Create(ctx, "", job{})),
			"has 513 bytes":       failure(s.Create(ctx, long, job{})),
			`"\xff" is not UTF-8`: failure(s.HasPending(ctx, "\xff")),
			"idempotency key":     failure(s.Create(ctx, box, job{}, noKey)),
			`id "nonsense"`:       failure(s.Get(ctx, "nonsense")),
			`'}' at position 0`:   failure(s.Get(ctx, "}"+made.ID[1:])),
			`':' at position 29`:  failure(s.Get(ctx, made.ID[:29]+":")),
			"request is nil":      s.Timeout(ctx, nil),
			`30 characters`:       s.Timeout(ctx, &jobRequest{ID: "x"}),
		} {
			checkInvalid(t, err, want)
		}
		checkOnly(t, s, made.ID)
	})
}

func TestInvalidArgumentsOfAWorkerStoreNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s, ctx := newStore(t, b, policy()), t.Context()
		made := create(t, s)
		unclaimed := held(t, s, made.ID, 0)
		withoutID, negative := *unclaimed, *unclaimed
		withoutID.ID, negative.Attempt = "", -1
		exported := exportedClaim(t, b)
		longID := pending.WithClaimID(strings.Repeat("x", 513))
		for want, err := range map[string]error{
			"has 1048576 bytes":   failure(s.PopPending(ctx, strings.Repeat("x", 1<<20))),
			"claim id":            failure(s.PopPending(ctx, box, longID)),
			"limit is 0":          failure(s.PopPendingBatch(ctx, box, 0)),
			"limit is 101":        failure(s.PopPendingBatch(ctx, box, 101)),
			"WithLimit is for":    failure(s.PopPending(ctx, box, pending.WithLimit(s, 2))),
			"claim is nil":        s.Complete(ctx, nil),
			`of store "exports"`:  s.Complete(ctx, exported),
			"not made by a pop":   s.Complete(ctx, &jobClaim{Request: *made}),
			`id ""`:               s.Extend(ctx, &withoutID),
			"attempt is -1":       s.Fail(ctx, &negative, ""),
			`outcome "nope"`:      s.Finish(ctx, unclaimed, "nope"),
			`outcome "completed"`: s.Finish(ctx, unclaimed, pending.StatusCompleted),
			`id "gone"`:           failure(s.Held(ctx, "gone", 1)),
			"the attempt is -2":   failure(s.Held(ctx, made.ID, -2)),
			"attempt is 10000":    failure(s.Held(ctx, made.ID, 10_000)),
		} {
			checkInvalid(t, err, want)
		}
		checkOnly(t, s, made.ID)
	})
}

// exportedClaim returns the claim of another store with the same payload type.
func exportedClaim(t *testing.T, b backends.Backend) *jobClaim {
	t.Helper()
	p := policy()
	p.Name = "exports"
	exports := newStore(t, b, p)
	create(t, exports)
	return pop(t, exports)
}

// checkOnly checks that the mailbox has one pending request, with this id.
func checkOnly(t *testing.T, s *jobStore, id string) {
	t.Helper()
	got, err := s.PopPendingBatch(t.Context(), box, 100)
	mustDo(t, err)
	if ids(got) != id {
		t.Errorf("the mailbox holds %q, want %q", ids(got), id)
	}
}

func TestAPayloadOverTheLimitIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		p := policy()
		p.MaxPayload = 100
		s := newStore(t, b, p)
		_, err := s.Create(t.Context(), box, job{Command: strings.Repeat("x", 100)})
		checkErr(t, "Create", err, pending.ErrTooLarge)
		create(t, s)
		r := pop(t, s)
		before := r.Request
		r.Payload.Output = strings.Repeat("x", 100)
		checkErr(t, "Complete", s.Complete(t.Context(), r), pending.ErrTooLarge)
		if r.Status != pending.StatusRunning {
			t.Errorf("the refused Complete set status %s", r.Status)
		}
		checkRequest(t, get(t, s, r.ID), before)
	})
}

func TestAPayloadThatCannotBeEncodedIsRefused(t *testing.T) {
	s := newStore(t, memory.New(), policy())
	bad := job{Command: "\xff"}
	checkInvalid(t, failure(s.Create(t.Context(), box, bad)), "job.Command")
	if has, err := s.HasPending(t.Context(), box); has || err != nil {
		t.Errorf("HasPending: got %v, %v; want false", has, err)
	}
	create(t, s)
	c := pop(t, s)
	c.Payload = bad
	checkInvalid(t, s.Progress(t.Context(), c), "job.Command")
	checkInvalid(t, s.Complete(t.Context(), c), "job.Command")
}

// A caller of the backend chooses the id of a request. Package remote lets its callers do so.
func TestACreateRefusesTheRequestOfAnotherMailbox(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s, other := newStore(t, b, policy()), ""
		for i := 0; backends.Partition(other) != backends.Partition(box); i++ {
			other = fmt.Sprint("other-", i)
		}
		_, err := b.Create(t.Context(), backends.Create{Terms: policy().Terms(), Mailbox: other,
			ID: backends.DeriveID(policy().Name, box, "order-1"), Codec: "json",
			Payload: []byte("{}")})
		mustDo(t, err)
		r, err := s.Create(t.Context(), box, job{}, pending.WithIdempotencyKey("order-1"))
		if r != nil || !errors.Is(err, pending.ErrInvalid) {
			t.Errorf("got %v, %v, want ErrInvalid", r, err)
		}
	})
}

func TestTheSameIdempotencyKeyReturnsTheFirstRequest(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s, key := newStore(t, b, policy()), pending.WithIdempotencyKey("k")
		first := create(t, s, key)
		node2 := newStore(t, b, policy())
		again, err := node2.Create(t.Context(), box, job{Command: "another"}, key)
		mustDo(t, err)
		checkRequest(t, again, *first)
		other, err := s.Create(t.Context(), "runtime-2", job{}, key)
		mustDo(t, err)
		otherKey := create(t, s, pending.WithIdempotencyKey("l"))
		if other.ID == first.ID || create(t, s).ID == first.ID || otherKey.ID == first.ID {
			t.Error("another mailbox, another key or no key made the same request")
		}

		calls.Pass(time.Minute + 3*time.Minute + time.Second) // the key goes with its request
		if renewed := create(t, s, key); !renewed.CreatedAt.After(first.CreatedAt) {
			t.Error("the key returned a request whose retention is over")
		}
	})
}

func TestAnExclusiveStoreNamesTheLiveRequest(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		p := policy()
		p.Exclusive = true
		s := newStore(t, b, p)
		live := create(t, s)
		_, err := s.Create(t.Context(), box, job{})
		var busy *pending.BusyError
		if !errors.Is(err, pending.ErrBusy) || !errors.As(err, &busy) || busy.ID != live.ID {
			t.Errorf("got %v, want a BusyError with %s", err, live.ID)
		}
	})
}

func TestAFullMailboxRefusesACreate(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		p := policy()
		p.MaxPending = 1
		s := newStore(t, b, p)
		create(t, s)
		if _, err := s.Create(t.Context(), box, job{}); !errors.Is(err, pending.ErrFull) {
			t.Errorf("got %v, want ErrFull", err)
		}
	})
}

func TestInMailboxHidesOthersRequests(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		r := create(t, s)
		if _, err := s.Get(t.Context(), r.ID, pending.InMailbox(box)); err != nil {
			t.Errorf("in its own mailbox: %v", err)
		}
		_, err := s.Get(t.Context(), r.ID, pending.InMailbox("runtime-2"))
		checkErr(t, "in another mailbox", err, pending.ErrNotFound)
	})
}

func TestACallWithAnEndedContextHasNoEffect(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		checkErr(t, "Create", failure(s.Create(ctx, box, job{})), context.Canceled)
		checkErr(t, "HasPending", failure(s.HasPending(ctx, box)), context.Canceled)
		checkErr(t, "PopPending", failure(s.PopPending(t.Context(), box)), pending.ErrNoPending)
	})
}

func TestLogsAndErrorsDoNotCarryThePayload(t *testing.T) {
	const secret = "hunter2"
	var log bytes.Buffer
	s := newStore(t, memory.New(), policy())
	r, err := s.Create(t.Context(), box, job{Command: secret, Owner: secret})
	mustDo(t, err)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("request", "byPointer", r, "byValue", *r)
	if strings.Contains(log.String(), secret) || strings.Count(log.String(), r.ID) != 2 {
		t.Errorf("got %s, want the id twice and no payload", log.String())
	}
	c := held(t, s, r.ID, 0)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("claim", "byPointer", c, "byValue", *c)
	if strings.Contains(log.String(), secret) || strings.Count(log.String(), r.ID) != 4 {
		t.Errorf("got %s, want the id four times and no payload", log.String())
	}
	mustDo(t, s.Timeout(t.Context(), r))
	for _, err := range []error{s.Complete(t.Context(), c), s.Extend(t.Context(), c)} {
		if !errors.Is(err, pending.ErrEnded) || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v, want ErrEnded without the payload", err)
		}
	}
}

func TestEndedTellsEndedStatusesFromLiveOnes(t *testing.T) {
	for status, want := range map[pending.Status]bool{
		"":                      false,
		pending.StatusPending:   false,
		pending.StatusRunning:   false,
		pending.StatusCompleted: true,
		pending.StatusFailed:    true,
		pending.StatusTimeout:   true,
		"conflict":              true,
	} {
		if got := status.Ended(); got != want {
			t.Errorf("%q: got %v, want %v", status, got, want)
		}
	}
}

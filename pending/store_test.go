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
		want := pending.Request[job]{ID: made.ID, Mailbox: box, Status: pending.StatusPending,
			Payload: job{Command: "uptime", Owner: "ada"}, CreatedAt: start, UpdatedAt: start, Deadline: start.Add(time.Minute)}
		checkRequest(t, made, want)

		calls.Pass(time.Second) // what the claim's times are told by
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
		want.Status, want.Payload, want.UpdatedAt = pending.StatusCompleted, claimed.Payload, claimed.UpdatedAt
		checkRequest(t, &claimed.Request, want)
		checkRequest(t, get(t, s, made.ID), want)
	})
}

func checkRequest(t *testing.T, got *pending.Request[job], want pending.Request[job]) {
	t.Helper()
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("the request differs (-want +got):\n%s", diff)
	}
}

func TestWhatACallReturnsIsTheCallersOwn(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		payload := job{Env: map[string]string{"A": "1"}}
		made, err := s.Create(t.Context(), box, payload)
		mustDo(t, err)
		payload.Env["A"] = "changed"
		if made.Payload.Env["A"] != "1" {
			t.Error("the request shares the payload that Create got")
		}
		made.Payload.Env["A"] = "changed"
		if got := get(t, s, made.ID).Payload.Env["A"]; got != "1" {
			t.Errorf("the stored payload changed to %q", got)
		}
	})
}

func TestPoliciesThatCannotWorkAreRefused(t *testing.T) {
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
		if !errors.Is(err, pending.ErrInvalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want ErrInvalid that says %s", err, want)
		}
	}
}

// badName is a codec whose name cannot stand in a record.
type badName struct{ codec.Codec[job] }

func (badName) Name() string { return "a b" }

func TestStoresThatCannotWorkAreRefused(t *testing.T) {
	_, noBackend := pending.New(nil, codec.JSON[job](), policy())
	_, noCodec := pending.New[job](memory.New(), nil, policy())
	_, name := pending.New(memory.New(), codec.Codec[job](badName{codec.JSON[job]()}), policy())
	_, twice := pending.New(memory.New(), codec.JSON[job](), policy(), pending.AlsoReads(codec.JSON[job]()))
	_, lossy := pending.New(memory.New(), codec.JSON[struct{ X any }](), policy())
	_, lossyToo := pending.New(memory.New(), codec.JSON[hidesForMsgpack](), policy(),
		pending.AlsoReads(codec.Msgpack[hidesForMsgpack]()))
	for want, err := range map[string]error{
		"backend is nil": noBackend, "codec is nil": noCodec, `"a b"`: name, "two codecs": twice,
		".X: an interface": lossy, "hidesForMsgpack.X": lossyToo,
	} {
		if !errors.Is(err, pending.ErrInvalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want ErrInvalid that says %s", err, want)
		}
	}
}

func TestANilPointerIsNoBackendAndNoCodec(t *testing.T) {
	_, noBackend := pending.New((*memory.Backend)(nil), codec.JSON[job](), policy())
	_, noCodec := pending.New[job](memory.New(), (*badName)(nil), policy())
	for want, err := range map[string]error{"backend is nil": noBackend, "codec is nil": noCodec} {
		if !errors.Is(err, pending.ErrInvalid) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want ErrInvalid that says %s", err, want)
		}
	}
}

type hidesForMsgpack struct {
	X string `msgpack:"-"`
}

func TestBadArgumentsAreNamedAndStoreNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		ctx := t.Context()
		made := create(t, s)
		unclaimed := held(t, s, made.ID, 0)
		with := func(change func(c *pending.Claim[job])) *pending.Claim[job] {
			c := *unclaimed
			change(&c)
			return &c
		}
		for name, call := range map[string]func() error{
			"mailbox is empty":    func() error { _, err := s.Create(ctx, "", job{}); return err },
			"has 513 bytes":       func() error { _, err := s.Create(ctx, strings.Repeat("x", 513), job{}); return err },
			"has 1048576 bytes":   func() error { _, err := s.PopPending(ctx, strings.Repeat("x", 1<<20)); return err },
			`"\xff" is not UTF-8`: func() error { _, err := s.HasPending(ctx, "\xff"); return err },
			"idempotency key":     func() error { _, err := s.Create(ctx, box, job{}, pending.WithIdempotencyKey("")); return err },
			"claim id": func() error {
				_, err := s.PopPending(ctx, box, pending.WithClaimID(strings.Repeat("x", 513)))
				return err
			},
			"limit is 0":         func() error { _, err := s.PopPendingBatch(ctx, box, 0); return err },
			"limit is 101":       func() error { _, err := s.PopPendingBatch(ctx, box, 101); return err },
			"WithLimit is for":   func() error { _, err := s.PopPending(ctx, box, pending.WithLimit(s, 2)); return err },
			`id "nonsense"`:      func() error { _, err := s.Get(ctx, "nonsense"); return err },
			`'}' at position 0`:  func() error { _, err := s.Get(ctx, "}"+made.ID[1:]); return err },
			`':' at position 29`: func() error { _, err := s.Get(ctx, made.ID[:29]+":"); return err },
			"request is nil":     func() error { return s.Timeout(ctx, nil) },
			`30 characters`:      func() error { return s.Timeout(ctx, &pending.Request[job]{ID: "x"}) },
			"claim is nil":       func() error { return s.Complete(ctx, nil) },
			"not made by a pop":  func() error { return s.Complete(ctx, &pending.Claim[job]{Request: *made}) },
			`id ""`: func() error {
				return s.Extend(ctx, with(func(c *pending.Claim[job]) { c.ID = "" }))
			},
			"attempt is -1": func() error {
				return s.Fail(ctx, with(func(c *pending.Claim[job]) { c.Attempt = -1 }), "")
			},
			`outcome "nope"`:      func() error { return s.Finish(ctx, unclaimed, "nope") },
			`outcome "completed"`: func() error { return s.Finish(ctx, unclaimed, pending.StatusCompleted) },
			`id "gone"`:           func() error { _, err := s.Held(ctx, "gone", 1); return err },
			"the attempt is -2":   func() error { _, err := s.Held(ctx, made.ID, -2); return err },
			"attempt is 10000":    func() error { _, err := s.Held(ctx, made.ID, 10_000); return err },
		} {
			if err := call(); !errors.Is(err, pending.ErrInvalid) || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want ErrInvalid that says %s", err, name)
			}
		}
		if got, err := s.PopPendingBatch(ctx, box, 100); err != nil || len(got) != 1 || got[0].ID != made.ID {
			t.Errorf("the mailbox holds %v (%v), want the one good request", got, err)
		}
	})
}

func TestAPayloadOverTheLimitIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		p := policy()
		p.MaxPayload = 100
		s := newStore(t, b, p)
		if _, err := s.Create(t.Context(), box, job{Command: strings.Repeat("x", 100)}); !errors.Is(err, pending.ErrTooLarge) {
			t.Errorf("Create: got %v, want ErrTooLarge", err)
		}
		create(t, s)
		r := pop(t, s)
		before := r.Request
		r.Payload.Output = strings.Repeat("x", 100)
		if err := s.Complete(t.Context(), r); !errors.Is(err, pending.ErrTooLarge) {
			t.Errorf("Complete: got %v, want ErrTooLarge", err)
		}
		if r.Status != pending.StatusRunning {
			t.Errorf("the refused request is %s in the caller's hand", r.Status)
		}
		checkRequest(t, get(t, s, r.ID), before)
	})
}

func TestAPayloadThatCannotBeEncodedIsRefused(t *testing.T) {
	s := newStore(t, memory.New(), policy())
	_, err := s.Create(t.Context(), box, job{Command: "\xff"})
	if err == nil || !strings.Contains(err.Error(), "job.Command") {
		t.Errorf("got %v, want an error that names job.Command", err)
	}
	if pending, err := s.HasPending(t.Context(), box); pending || err != nil {
		t.Errorf("HasPending: %v, %v", pending, err)
	}
}

func TestTheSameIdempotencyKeyReturnsTheFirstRequest(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s, key := newStore(t, b, policy()), pending.WithIdempotencyKey("k")
		first := create(t, s, key)
		again, err := newStore(t, b, policy()).Create(t.Context(), box, job{Command: "another"}, key)
		mustDo(t, err)
		checkRequest(t, again, *first)
		other, err := s.Create(t.Context(), "runtime-2", job{}, key)
		mustDo(t, err)
		if other.ID == first.ID || create(t, s).ID == first.ID || create(t, s, pending.WithIdempotencyKey("l")).ID == first.ID {
			t.Error("another mailbox, another key or none made the same request")
		}

		calls.Pass(time.Minute + 3*time.Minute + time.Second) // the key goes with its request
		if renewed := create(t, s, key); !renewed.CreatedAt.After(first.CreatedAt) {
			t.Error("a request that is long gone was returned")
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

func TestAFullMailboxRefuses(t *testing.T) {
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
		if _, err := s.Get(t.Context(), r.ID, pending.InMailbox("runtime-2")); !errors.Is(err, pending.ErrNotFound) {
			t.Errorf("in another mailbox: got %v, want ErrNotFound", err)
		}
	})
}

func TestTheWorldGoesOnAfterTheContextEnds(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newStore(t, b, policy())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Create(ctx, box, job{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Create: got %v, want context.Canceled", err)
		}
		if _, err := s.HasPending(ctx, box); !errors.Is(err, context.Canceled) {
			t.Errorf("HasPending: got %v, want context.Canceled", err)
		}
		if _, err := s.PopPending(t.Context(), box); !errors.Is(err, pending.ErrNoPending) {
			t.Errorf("PopPending: got %v, want ErrNoPending", err)
		}
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

func TestStatusesKnowWhetherTheyAreEnds(t *testing.T) {
	for status, want := range map[pending.Status]bool{"": false, pending.StatusPending: false, pending.StatusRunning: false,
		pending.StatusCompleted: true, pending.StatusFailed: true, pending.StatusTimeout: true, "conflict": true} {
		if got := status.Ended(); got != want {
			t.Errorf("%q: got %v, want %v", status, got, want)
		}
	}
}

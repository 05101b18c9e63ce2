package skills_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// counter counts round trips.
type counter struct{ trips atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmds)
	}
}

// takes returns a function that checks how many round trips an operation takes.
func takes(t *testing.T, client redis.UniversalClient) (
	check func(want int64, what string, operation func() error)) {
	count := &counter{}
	client.AddHook(count)
	return func(want int64, what string, operation func() error) {
		t.Helper()
		before := count.trips.Load()
		if err := operation(); err != nil && !errors.Is(err, pending.ErrNoPending) {
			t.Fatalf("%s: %v", what, err)
		}
		if trips := count.trips.Load() - before; trips != want {
			t.Errorf("%s: %d round trips, want %d", what, trips, want)
		}
	}
}

// pings are the operations of the store of pings, for a test that counts their round trips. Held,
// Extend and Complete are about the request that create made last.
type pings struct {
	*skills.Stores
	ctx     context.Context
	request *pending.Request[skills.Ping]
	claim   *pending.Claim[skills.Ping]
}

func (p *pings) create() (err error) {
	p.request, err = p.Pings.Create(p.ctx, runtime, skills.Ping{})
	return err
}

func (p *pings) held() (err error) {
	p.claim, err = p.Pings.Held(p.ctx, p.request.ID, 0)
	return err
}

// extend may find that the lease has expired.
func (p *pings) extend() error {
	if err := p.Pings.Extend(p.ctx, p.claim); !errors.Is(err, pending.ErrStaleClaim) {
		return err
	}
	return nil
}

func (p *pings) complete() error { return p.Pings.Complete(p.ctx, p.claim) }

func (p *pings) get() error {
	_, err := p.Pings.Get(p.ctx, p.request.ID)
	return err
}

func (p *pings) hasPending() error {
	_, err := p.Pings.HasPending(p.ctx, runtime)
	return err
}

func (p *pings) pop() error {
	_, err := p.Pings.PopPending(p.ctx, runtime)
	return err
}

func (p *pings) popBatch() error {
	_, err := p.Pings.PopPendingBatch(p.ctx, runtime, 10)
	return err
}

func (p *pings) heartbeat() error {
	_, err := p.Heartbeat(p.ctx, runtime)
	return err
}

func TestEveryOperationIsOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := overRedis(t)
		takes := takes(t, client)
		p := &pings{Stores: s, ctx: t.Context()}
		operations := map[string]func() error{"Get": p.get, "HasPending": p.hasPending,
			"PopPending": p.pop, "PopPendingBatch": p.popBatch, "Heartbeat": p.heartbeat}
		warmUp := append([]func() error{p.create, p.held, p.extend, p.complete},
			slices.Collect(maps.Values(operations))...)
		for _, operation := range warmUp { // the first call may send its script in full
			if err := operation(); err != nil && !errors.Is(err, pending.ErrNoPending) {
				t.Fatal(err)
			}
		}

		for name, operation := range operations {
			takes(1, name+" of an empty mailbox", operation)
			for range 20 {
				takes(1, "Create", p.create)
			}
			<-time.After(2 * time.Minute) // all requests time out
			takes(1, name+" behind stale requests", operation)
			for range 3 {
				takes(1, "Create", p.create)
			}
			takes(1, "Held", p.held)
			takes(1, "Extend", p.extend)
			takes(1, name+" of a full mailbox", operation)
			takes(1, name+" again", operation)
		}
		takes(1, "Create", p.create)
		takes(1, "Held", p.held)
		takes(1, "Complete", p.complete)
		takes(1, "Complete, repeated", p.complete)
		for range 3 {
			created[skills.Import](t)(s.Imports.Create(p.ctx, runtime, skills.Import{}))
			created[skills.List](t)(s.Lists.Create(p.ctx, runtime, skills.NewList()))
			created[skills.ModelList](t)(
				s.ModelLists.Create(p.ctx, runtime, skills.NewModelList()))
		}
		takes(1, "Heartbeat with work of several stores", p.heartbeat)
	})
}

func TestOnlyLargeAnswersTakeASecondRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := overRedis(t)
		ctx := t.Context()
		takes := takes(t, client)
		var c *pending.Claim[skills.Ping]
		ask := func() {
			t.Helper()
			created[skills.Ping](t)(s.Pings.Create(ctx, runtime, skills.Ping{}))
			c = claimed[skills.Ping](t)(s.Pings.PopPending(ctx, runtime))
			c.Payload.Output = strings.Repeat("out", 20_000)
		}
		complete := func() error { return s.Pings.Complete(ctx, c) }
		get := func() error {
			got, err := s.Pings.Get(ctx, c.ID)
			if err == nil && got.Payload.Output != c.Payload.Output {
				t.Errorf("got %d bytes of output, want %d",
					len(got.Payload.Output), len(c.Payload.Output))
			}
			return err
		}
		ask()
		// The first calls open a connection for pipelines, and send their scripts in full.
		for _, warmUp := range []func() error{complete, get} {
			if err := warmUp(); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		takes(1, "Complete", complete)
		takes(2, "Complete, repeated", complete) // the second reads the stored answer
		takes(2, "Get", get)                     // the second reads the payload
	})
}

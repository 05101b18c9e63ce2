package pendingotel_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

// idlePolls are the operations of a runtime for which nothing is pending.
var idlePolls = map[string]func(ctx context.Context, b backends.Backend) error{
	"claim": func(ctx context.Context, b backends.Backend) error {
		_, err := b.Claim(ctx, idle("claim"))
		return err
	},
	"claim many": func(ctx context.Context, b backends.Backend) error {
		many, _ := backends.As[backends.ManyClaimer](b)
		return many.ClaimMany(ctx, []backends.Claim{idle("one"), idle("two")})[0].Err
	},
	"has pending": func(ctx context.Context, b backends.Backend) error {
		_, err := b.HasPending(ctx, "jobs", box)
		return err
	},
}

func idle(id string) backends.Claim {
	c := backends.Claim{ID: id, Mailbox: box}
	for _, store := range []string{"jobs", "list", "import", "ping", "update"} {
		c.From = append(c.From, backends.From{Terms: backends.Terms{Store: store}, Limit: 1})
	}
	return c
}

func TestAnIdlePollAllocatesNothingAndMakesNoSpan(t *testing.T) {
	bare := many{memory.New()}
	n := newNode(t, bare, trace.AlwaysSample())
	for name, poll := range idlePolls {
		allocations := func(b backends.Backend) float64 {
			return testing.AllocsPerRun(1000, func() { n.must(poll(context.Background(), b)) })
		}
		if got, want := allocations(n.backend), allocations(bare); got > want {
			t.Errorf("%s: %v allocations, %v without instruments", name, got, want)
		}
	}
	if spans := n.spans.GetSpans(); len(spans) > 0 {
		t.Errorf("got %d spans, want none; the first is %s", len(spans), spans[0].Name)
	}
}

func TestUnderASpanThatIsNotSampledACreateAllocatesNothingMore(t *testing.T) {
	n := newNode(t, constant{memory.New()}, trace.AlwaysSample())
	ctx := under(0)
	allocations := testing.AllocsPerRun(1000, func() {
		_, err := n.backend.Create(ctx, backends.Create{Terms: backends.Terms{Store: "jobs"}})
		n.must(err)
	})
	if allocations > 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}

// constant answers each Create alike.
type constant struct{ backends.Backend }

func (constant) Create(context.Context, backends.Create) (backends.Record, error) {
	return backends.Record{Status: backends.StatusPending}, nil
}

func TestASampledLifecycleTakesNoMoreRoundTrips(t *testing.T) {
	client, sent := redistest.Start(t).Client(t), &counter{}
	client.AddHook(sent)
	bare, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bare.Close() })
	n := newNode(t, bare, trace.AlwaysSample())
	bareStore, err := pending.New(bare, codec.JSON[job](), policy())
	n.must(err)
	trips := func(s *pending.PendingStore[job]) int64 {
		n.must(lifecycle(t.Context(), s, box)) // sends scripts in full
		before := sent.Load()
		n.must(lifecycle(t.Context(), s, box))
		return sent.Load() - before
	}
	if got, want := trips(n.store), trips(bareStore); got != want || want != 5 {
		t.Errorf("%d round trips, %d without instruments, want 5", got, want)
	}
}

// counter counts what a client sends.
type counter struct{ atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmds)
	}
}

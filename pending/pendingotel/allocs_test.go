package pendingotel_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
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

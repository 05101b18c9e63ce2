package remote_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// benchmarked are a backend in this process, and the same over HTTP on loopback.
func benchmarked(b *testing.B, run func(*testing.B, backends.Backend)) {
	direct := memory.New()
	server, err := remote.Handler(direct, remote.Config{Stores: []pending.Policy{policy("s")},
		Access: everything{}, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	client := newClient(b, serve(b, server), "bench")
	b.Run("over=nothing", func(b *testing.B) { run(b, direct) })
	b.Run("over=http", func(b *testing.B) { run(b, client) })
}

// BenchmarkLifecycle is a create, a claim, an end and a get, one after the other.
func BenchmarkLifecycle(b *testing.B) {
	benchmarked(b, func(b *testing.B, backend backends.Backend) {
		for b.Loop() {
			c := question("s")
			_, err := backend.Create(b.Context(), c)
			claimed, claimErr := backend.Claim(b.Context(), poll("s"))
			if err != nil || claimErr != nil {
				b.Fatal(err, claimErr)
			}
			if _, err = backend.End(b.Context(), completion("s", claimed[0].Records[0])); err == nil {
				_, err = backend.Get(b.Context(), "s", c.ID)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPickUp is the time from a Create until an idle worker has claimed the request. Besides the mean, it reports the percentiles.
func BenchmarkPickUp(b *testing.B) {
	benchmarked(b, func(b *testing.B, backend backends.Backend) {
		store, err := pending.New(backend, codec.JSON[backup](), policy("s"))
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		claimed := make(chan time.Time)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				if c, err := store.AwaitPending(ctx, box); err == nil {
					claimed <- time.Now()
					_ = store.Complete(b.Context(), c)
				}
			}
		}()
		var took []time.Duration
		for b.Loop() {
			start := time.Now()
			if _, err := store.Create(b.Context(), box, backup{}); err != nil {
				b.Fatal(err)
			}
			took = append(took, (<-claimed).Sub(start))
		}
		cancel()
		<-done
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	})
}

package pendingotel_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

// BenchmarkInstrumented runs lifecycles over a bare and over an instrumented backend, in turns. It
// reports the instrumented time divided by the bare time: ratio 1.03 is 3 % more. Metrics are on.
// One in a hundred creates is sampled, or all of them.
func BenchmarkInstrumented(b *testing.B) {
	engines := map[string]func(b *testing.B) backends.Backend{
		"memory": func(b *testing.B) backends.Backend { return memory.New() },
		"redis": func(b *testing.B) backends.Backend {
			backend, err := goredis.New(redistest.Start(b).Client(b), nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { backend.Close() })
			return backend
		},
	}
	for _, engine := range []string{"memory", "redis"} {
		for _, callers := range []int{1, 64} {
			for _, sampled := range []float64{0.01, 1} {
				name := fmt.Sprintf("engine=%s/callers=%d/sampled=%v", engine, callers, sampled)
				b.Run(name, func(b *testing.B) { compare(b, engines[engine](b), callers, sampled) })
			}
		}
	}
}

// compare times rounds of lifecycles in turns: bare, instrumented, instrumented, bare, and so on.
func compare(b *testing.B, bare backends.Backend, callers int, sampled float64) {
	tracer := trace.NewTracerProvider(
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(sampled))))
	instrumented, err := pendingotel.Instrument(bare, &pendingotel.Options{
		MeterProvider:  sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader())),
		TracerProvider: tracer})
	if err != nil {
		b.Fatal(err)
	}
	var took [2]time.Duration
	sides := [2]backends.Backend{bare, instrumented}
	each := max(1, min(2000, b.N/4))
	for done := 0; done < b.N; done += 2 * each {
		for _, side := range [][]int{{0, 1}, {1, 0}}[done/(2*each)%2] {
			start := time.Now()
			lifecycles(b, sides[side], callers, each)
			took[side] += time.Since(start)
		}
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
}

// lifecycles runs n lifecycles, each with an idle poll, from several callers at once.
func lifecycles(b *testing.B, backend backends.Backend, callers, n int) {
	s, err := pending.New(backend, codec.JSON[job](), policy())
	if err != nil {
		b.Fatal(err)
	}
	var work sync.WaitGroup
	for caller := range callers {
		work.Go(func() {
			mailbox := fmt.Sprint("runtime-", caller)
			for i := caller; i < n; i += callers {
				if err := lifecycle(context.Background(), s, mailbox); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
}

func lifecycle(ctx context.Context, s *pending.PendingStore[job], mailbox string) error {
	r, err := s.Create(ctx, mailbox, job{Question: "?"})
	if err != nil {
		return err
	}
	c, err := s.PopPending(ctx, mailbox)
	if err != nil {
		return err
	}
	if _, err := s.PopPending(ctx, mailbox); !errors.Is(err, pending.ErrNoPending) {
		return fmt.Errorf("an idle poll: %w", err)
	}
	if err := s.Complete(ctx, c); err != nil {
		return err
	}
	_, err = s.Get(ctx, r.ID)
	return err
}

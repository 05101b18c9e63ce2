package pendingotel_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const box = "runtime-1"

type job struct{ Question, Answer string }

func policy() pending.Policy {
	return pending.Policy{Name: "jobs", PendingTimeout: time.Minute,
		RunningTimeout: 2 * time.Minute, Retention: time.Hour, MaxAttempts: 2,
		CancelGrace: time.Minute, Outcomes: []pending.Status{"conflict"}}
}

// node is an instrumented backend with its metrics and spans.
type node struct {
	t       testing.TB
	backend backends.Backend
	store   *pending.PendingStore[job]
	reader  *metric.ManualReader
	spans   *tracetest.InMemoryExporter
	tracer  *trace.TracerProvider
}

// newNode instruments an engine that may be shared by several nodes.
func newNode(t testing.TB, engine backends.Backend, sampler trace.Sampler) *node {
	n := &node{t: t, reader: metric.NewManualReader(), spans: tracetest.NewInMemoryExporter()}
	n.tracer = trace.NewTracerProvider(trace.WithSyncer(n.spans), trace.WithSampler(sampler))
	meter := metric.NewMeterProvider(metric.WithReader(n.reader))
	var err error
	n.backend, err = pendingotel.Instrument(engine,
		&pendingotel.Options{MeterProvider: meter, TracerProvider: n.tracer})
	if err != nil {
		t.Fatal(err)
	}
	n.store = n.newStore(policy())
	return n
}

func (n *node) newStore(p pending.Policy) *pending.PendingStore[job] {
	s, err := pending.New(n.backend, codec.JSON[job](), p)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *node) create(opts ...pending.CreateOption) *pending.Request[job] {
	n.t.Helper()
	r, err := n.store.Create(context.Background(), box, job{Question: "?"}, opts...)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

func (n *node) pop(opts ...pending.PopOption) *pending.Claim[job] {
	n.t.Helper()
	c, err := n.store.PopPending(context.Background(), box, opts...)
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// must ends the test if an operation failed.
func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// collected returns the metrics of a node, by name.
func (n *node) collected() map[string]metricdata.Metrics {
	var rm metricdata.ResourceMetrics
	n.must(n.reader.Collect(context.Background(), &rm))
	found := map[string]metricdata.Metrics{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

func memoryNode(t testing.TB) *node { return newNode(t, memory.New(), trace.NeverSample()) }

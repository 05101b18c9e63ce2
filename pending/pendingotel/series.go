package pendingotel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// count is one series of a counter: an integer that each scrape reports. Adding to it is cheaper
// than a call of an instrument.
type count struct {
	atomic.Int64
	counter    metric.Int64ObservableCounter
	attributes metric.MeasurementOption
}

// times is one series of a histogram of seconds. It gathers values and records them when it has
// many, or at a scrape. The instrument's code and buckets leave the processor's cache between two
// operations, so it records many values at once in far less time than one by one.
type times struct {
	histogram  metric.Float64Histogram
	attributes []metric.RecordOption

	mu     sync.Mutex
	values []float64
}

var began = time.Now()

// now returns the time since the start of the process. Only a monotonic clock is read, which takes
// less than half of what time.Now takes.
func now() time.Duration { return time.Since(began) }

// gathered is how many values a series gathers.
const gathered = 128

// record records a value. If the span in ctx is sampled, the value goes to the instrument at once:
// the span may become its exemplar.
func (t *times) record(ctx context.Context, seconds float64) {
	if trace.SpanContextFromContext(ctx).IsSampled() {
		t.histogram.Record(ctx, seconds, t.attributes...)
		return
	}
	t.mu.Lock()
	t.values = append(t.values, seconds)
	many := len(t.values) >= gathered
	t.mu.Unlock()
	if many {
		t.flush()
	}
}

// flush records what was gathered.
func (t *times) flush() {
	var room [gathered]float64 // on the stack
	t.mu.Lock()
	values := append(room[:0], t.values...)
	t.values = t.values[:0]
	t.mu.Unlock()
	for _, seconds := range values {
		t.histogram.Record(context.Background(), seconds, t.attributes...)
	}
}

// newCount adds a count. The caller holds mu.
func (m *metrics) newCount(
	counter metric.Int64ObservableCounter, attributes ...attribute.KeyValue) *count {
	c := &count{counter: counter, attributes: with(attributes...)}
	m.counts = append(m.counts, c)
	return c
}

// newTimes adds a series of a histogram. The caller holds mu.
func (m *metrics) newTimes(
	histogram metric.Float64Histogram, attributes ...attribute.KeyValue) *times {
	t := &times{histogram: histogram, attributes: []metric.RecordOption{with(attributes...)}}
	m.times = append(m.times, t)
	return t
}

func with(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// scrape reports all counts above 0 and records all gathered values. The instruments are read
// after it.
func (m *metrics) scrape(_ context.Context, to metric.Observer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.times {
		t.flush()
	}
	for _, c := range m.counts {
		if n := c.Load(); n > 0 {
			to.ObserveInt64(c.counter, n, c.attributes)
		}
	}
	return nil
}

package pendingotel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// count is one series of a counter: an integer that each scrape reports. Adding to it is cheaper
// than a call of an instrument.
type count struct {
	atomic.Int64
	counter    metric.Int64ObservableCounter
	attributes metric.MeasurementOption
}

// times is one series of a histogram of seconds.
type times struct {
	histogram  metric.Float64Histogram
	attributes []metric.RecordOption
}

var began = time.Now()

// now returns the time since the start of the process. Only a monotonic clock is read, which takes
// less than half of what time.Now takes.
func now() time.Duration { return time.Since(began) }

// gatherer gathers values of histograms in buffers. It records the values of a full buffer at once,
// in far less time than one by one: an instrument's code and buckets leave the processor's cache
// between two operations. A processor also waits for memory that another one has just changed. So
// it keeps to the buffer that it has used last, which a [sync.Pool] remembers.
type gatherer struct {
	buffers [16]buffer
	last    sync.Pool     // of *buffer
	given   atomic.Uint32 // how many buffers the pool was given
}

// gathered is how many values fill a buffer.
const gathered = 128

type buffer struct {
	mu, flushing  sync.Mutex
	values, spare []value  // flushing guards spare
	_             [64]byte // keeps two buffers out of one cache line
}

// value is a duration for a series.
type value struct {
	of   *times
	took time.Duration
}

func (v value) record(ctx context.Context) {
	v.of.histogram.Record(ctx, v.took.Seconds(), v.of.attributes...)
}

func newGatherer() *gatherer {
	g := &gatherer{}
	g.last.New = func() any { return &g.buffers[g.given.Add(1)%uint32(len(g.buffers))] }
	return g
}

// record records the values of one call. If the caller's span is sampled, record does not gather
// them: the span may become their exemplar.
func (g *gatherer) record(c *call, values ...value) {
	if c.caller.SpanContext().IsSampled() {
		for _, v := range values {
			v.record(c.ctx)
		}
		return
	}
	b := g.last.Get().(*buffer)
	b.mu.Lock()
	b.values = append(b.values, values...)
	full := len(b.values) >= gathered
	b.mu.Unlock()
	if full {
		b.flush()
	}
	g.last.Put(b)
}

// flush records all values of all buffers.
func (g *gatherer) flush() {
	for i := range g.buffers {
		g.buffers[i].flush()
	}
}

// flush records all values of the buffer. If another flush has taken them, it waits for that flush.
func (b *buffer) flush() {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	b.mu.Lock()
	values := b.values
	b.values, b.spare = b.spare[:0], values
	b.mu.Unlock()
	for _, v := range values {
		v.record(context.Background())
	}
}

// newCount adds a count. The caller holds mu.
func (m *metrics) newCount(
	counter metric.Int64ObservableCounter, attributes ...attribute.KeyValue) *count {
	c := &count{counter: counter, attributes: with(attributes...)}
	m.counts = append(m.counts, c)
	return c
}

func newTimes(histogram metric.Float64Histogram, attributes ...attribute.KeyValue) *times {
	return &times{histogram, []metric.RecordOption{with(attributes...)}}
}

func with(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// scrape reports all counts above 0 and records all gathered values. The instruments are read
// after it.
func (m *metrics) scrape(_ context.Context, to metric.Observer) error {
	m.values.flush()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.counts {
		if n := c.Load(); n > 0 {
			to.ObserveInt64(c.counter, n, c.attributes)
		}
	}
	return nil
}

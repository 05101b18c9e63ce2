package pendingotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
)

// Options choose the providers of [Instrument]. The zero value takes the global ones.
type Options struct {
	MeterProvider  metric.MeterProvider // gets the metrics. Default: otel.GetMeterProvider()
	TracerProvider trace.TracerProvider // gets the spans. Default: otel.GetTracerProvider()
}

const scope = "github.com/pendingq/pendingq/pending/pendingotel"

// Instrument returns a backend that passes operations to b and reports them. Opts may be nil. The
// result has the optional interfaces of b, found through [backends.As]. All stores of one Inbox
// need the same instrumented backend, so instrument a backend once. Instrument returns an error if
// b is nil or the MeterProvider fails.
func Instrument(b backends.Backend, opts *Options) (backends.Backend, error) {
	if check.IsNil(b) {
		return nil, errors.New("pendingotel: the backend is nil")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	m, err := newMetrics(o.MeterProvider.Meter(scope))
	if err != nil {
		return nil, err
	}
	observer := &observer{metrics: m, tracer: o.TracerProvider.Tracer(scope)}
	return &backend{Backend: b, observer: observer, next: optional(b, observer)}, nil
}

// observer gets each operation after it has returned.
type observer struct {
	*metrics
	tracer trace.Tracer
}

// call is one call of a backend.
type call struct {
	ctx         context.Context
	caller      trace.Span // the span in ctx
	op          operation
	start, took time.Duration
}

func begin(ctx context.Context, op operation) call {
	return call{ctx: ctx, caller: trace.SpanFromContext(ctx), op: op, start: now()}
}

// done sets how long the call took, and returns the call.
func (c *call) done() *call {
	c.took = now() - c.start
	return c
}

// backend observes the operations of every Backend.
type backend struct {
	backends.Backend
	*observer
	next backends.Backend // has the optional interfaces
}

// Unwrap returns a backend with the optional interfaces.
func (b *backend) Unwrap() backends.Backend { return b.next }

func (b *backend) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	call, s := begin(ctx, opCreate), b.of(c.Store)
	traced, span := b.startCreate(&call, &c)
	defer span.End() // if the backend panics
	rec, err := b.Backend.Create(traced, c)
	s.observe(call.done(), err)
	if err == nil && rec.CreatedAt.Equal(rec.ReadAt) {
		s.created.Add(1)
	} else if err == nil {
		s.sawExpired(&rec)
	}
	endCreate(span, &c, &rec, err)
	return rec, err
}

func (b *backend) Get(ctx context.Context, store, id string) (backends.Record, error) {
	call := begin(ctx, opGet)
	rec, err := b.Backend.Get(ctx, store, id)
	s := b.of(store)
	s.observe(call.done(), err)
	if err == nil {
		s.sawExpired(&rec)
	}
	return rec, err
}

func (b *backend) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	call := begin(ctx, opHasPending)
	has, err := b.Backend.HasPending(ctx, store, mailbox)
	b.of(store).observe(call.done(), err)
	return has, err
}

func (b *backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	call := begin(ctx, opClaim)
	claimed, err := b.Backend.Claim(ctx, c)
	b.claims(call.done(), []backends.Claim{c},
		[]backends.ClaimResult{{Claimed: claimed, Err: err}})
	return claimed, err
}

func (b *backend) Extend(ctx context.Context, e backends.Extend) (backends.Lease, error) {
	call := begin(ctx, opExtend)
	if e.Codec != "" {
		call.op = opProgress
	}
	if e.Release {
		call.op = opRelease
	}
	lease, err := b.Backend.Extend(ctx, e)
	b.of(e.Store).observe(call.done(), err)
	return lease, err
}

func (b *backend) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	call := begin(ctx, opCancel)
	rec, err := b.Backend.Cancel(ctx, c)
	b.settled(call.done(), c.Store, c.ID, &rec, err)
	return rec, err
}

func (b *backend) End(ctx context.Context, e backends.End) (backends.Record, error) {
	call := begin(ctx, opEnd)
	rec, err := b.Backend.End(ctx, e)
	b.settled(call.done(), e.Store, e.ID, &rec, err)
	return rec, err
}

// settled observes an End or a Cancel.
func (b *backend) settled(c *call, store, id string, rec *backends.Record, err error) {
	s := b.of(store)
	var few [2]value // on the stack
	values := append(few[:0], s.took(c, err))
	if ended, ok := errors.AsType[*backends.EndedError](err); ok {
		rec = &ended.Record
	} else if err == nil && rec.Ended() {
		values = s.hasEnded(values, rec)
	}
	b.values.record(c, values...)
	b.traceSettle(c, store, id, rec, err)
}

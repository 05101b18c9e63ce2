package pendingotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/pendingq/pendingq/backends"
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
	if b == nil {
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

// backend observes the operations of every Backend.
type backend struct {
	backends.Backend
	*observer
	next backends.Backend // has the optional interfaces
}

// Unwrap returns a backend with the optional interfaces.
func (b *backend) Unwrap() backends.Backend { return b.next }

func (b *backend) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	start, s := now(), b.of(c.Store)
	traced, span := b.startCreate(ctx, s, &c)
	rec, err := b.Backend.Create(traced, c)
	s.observe(ctx, opCreate, now()-start, err)
	isNew := err == nil && rec.CreatedAt.Equal(rec.ReadAt)
	if isNew {
		s.created.Add(1)
	} else if err == nil {
		s.sawExpired(rec)
	}
	endCreate(span, rec, isNew, err)
	return rec, err
}

func (b *backend) Get(ctx context.Context, store, id string) (backends.Record, error) {
	start := now()
	rec, err := b.Backend.Get(ctx, store, id)
	s := b.of(store)
	s.observe(ctx, opGet, now()-start, err)
	if err == nil {
		s.sawExpired(rec)
	}
	return rec, err
}

func (b *backend) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	start := now()
	has, err := b.Backend.HasPending(ctx, store, mailbox)
	b.of(store).observe(ctx, opHasPending, now()-start, err)
	return has, err
}

func (b *backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	start := now()
	claimed, err := b.Backend.Claim(ctx, c)
	b.claims(ctx, opClaim, start, []backends.Claim{c},
		[]backends.ClaimResult{{Claimed: claimed, Err: err}})
	return claimed, err
}

func (b *backend) Extend(ctx context.Context, e backends.Extend) (backends.Lease, error) {
	start, op := now(), opExtend
	if e.Codec != "" {
		op = opProgress
	}
	if e.Release {
		op = opRelease
	}
	lease, err := b.Backend.Extend(ctx, e)
	b.of(e.Store).observe(ctx, op, now()-start, err)
	return lease, err
}

func (b *backend) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	start := now()
	rec, err := b.Backend.Cancel(ctx, c)
	b.settled(ctx, opCancel, start, c.Store, c.ID, rec, err)
	return rec, err
}

func (b *backend) End(ctx context.Context, e backends.End) (backends.Record, error) {
	start := now()
	rec, err := b.Backend.End(ctx, e)
	b.settled(ctx, opEnd, start, e.Store, e.ID, rec, err)
	return rec, err
}

// settled observes an End or a Cancel.
func (b *backend) settled(ctx context.Context, op operation, start time.Duration,
	store, id string, rec backends.Record, err error) {
	s, took := b.of(store), now()-start
	s.observe(ctx, op, took, err)
	if ended, ok := errors.AsType[*backends.EndedError](err); ok {
		rec = ended.Record
	} else if err == nil && rec.Ended() {
		s.hasEnded(ctx, rec)
	}
	b.traceSettle(ctx, op, took, store, id, rec, err)
}

package pendingotel

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/check"
)

// carried writes and reads a span context: traceparent and tracestate. Baggage never travels.
var carried propagation.TraceContext

// Link returns a link to the span that created a request, from the Headers of the request. A
// handler adds it to its own spans:
//
//	ctx, span := tracer.Start(ctx, "reboot", trace.WithLinks(pendingotel.Link(c.Headers)))
//
// Without a trace context in the headers the link is invalid, and a tracer drops it.
func Link(headers map[string]string) trace.Link {
	if headers["traceparent"] == "" { // Extract takes ten times as long
		return trace.Link{}
	}
	ctx := carried.Extract(context.Background(), propagation.MapCarrier(headers))
	return trace.Link{SpanContext: trace.SpanContextFromContext(ctx)}
}

// appendLink appends the link to the span that created a request, if the link is valid and new.
func appendLink(links []trace.Link, headers map[string]string) []trace.Link {
	link := Link(headers)
	same := func(l trace.Link) bool { return l.SpanContext.Equal(link.SpanContext) }
	if !link.SpanContext.IsValid() || slices.ContainsFunc(links, same) {
		return links
	}
	return append(links, link)
}

// worthwhile reports whether to make a span: the creator of its request was sampled, or the
// caller's span is recorded.
func worthwhile(c *call, links []trace.Link) bool {
	sampled := func(l trace.Link) bool { return l.SpanContext.IsSampled() }
	return slices.ContainsFunc(links, sampled) || c.caller.IsRecording()
}

// about returns the attributes of a span, by the semantic conventions for messaging.
func about(kind, name, store string, more ...attribute.KeyValue) []attribute.KeyValue {
	return slices.Concat([]attribute.KeyValue{attribute.String("messaging.system", "pendingq"),
		attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.operation.name", name),
		attribute.String("messaging.destination.name", store)}, more)
}

func idOf(id string) attribute.KeyValue { return attribute.String("messaging.message.id", id) }

var (
	producer = trace.WithSpanKind(trace.SpanKindProducer)
	consumer = trace.WithSpanKind(trace.SpanKindConsumer)
	client   = trace.WithSpanKind(trace.SpanKindClient)
)

// startedAt is the start of a call that has just returned.
func (c *call) startedAt() trace.SpanStartOption {
	return trace.WithTimestamp(time.Now().Add(-c.took))
}

// startCreate starts the span of a Create and puts its context into the headers. If the headers
// already have a context, for example from a front end, the span is linked to that context. Under
// a span that is not sampled it starts none: a span costs 1 µs and two allocations, even if the
// sampler drops it.
func (o *observer) startCreate(by *call, c *backends.Create) (context.Context, trace.Span) {
	_, has := c.Headers["traceparent"]
	parent := by.caller.SpanContext()
	if !has && parent.IsValid() && !parent.IsSampled() {
		return by.ctx, noop.Span{}
	}
	opts := []trace.SpanStartOption{producer}
	if has {
		opts = append(opts, trace.WithLinks(Link(c.Headers)))
	}
	ctx, span := o.tracer.Start(by.ctx, "create "+c.Store, opts...)
	if span.IsRecording() {
		span.SetAttributes(about("send", "create", c.Store, idOf(c.ID))...)
	}
	if has || !span.SpanContext().IsSampled() {
		return ctx, span
	}
	headers := maps.Clone(c.Headers) // the caller's map stays as it is
	if headers == nil {
		headers = map[string]string{}
	}
	delete(headers, "tracestate") // it belongs to no traceparent
	carried.Inject(ctx, propagation.MapCarrier(headers))
	if check.Headers(headers) == nil {
		c.Headers = headers
	}
	return ctx, span
}

// endCreate ends the span of a Create. If another span has created the request, they are linked.
func endCreate(span trace.Span, c *backends.Create, rec *backends.Record, err error) {
	if !span.IsRecording() {
		return
	}
	if err == nil && rec.Headers["traceparent"] != c.Headers["traceparent"] {
		span.AddLink(Link(rec.Headers))
	}
	end(span, err)
}

// end ends a span. An error sets its error type. A refusal does not set the status Error.
func end(span trace.Span, err error) {
	if c := classOf(err); c != classNone && span.IsRecording() {
		span.SetAttributes(errorKey.String(errorClasses[c].name))
		if !errorClasses[c].refusal {
			span.SetStatus(codes.Error, err.Error())
		}
	}
	span.End()
}

// traceClaim makes a span for a store in which a claim found requests.
func (o *observer) traceClaim(c *call, store string, claimed *backends.Claimed) {
	records := claimed.Records
	var creators []trace.Link
	for i := range records {
		creators = appendLink(creators, records[i].Headers)
	}
	if len(records) == 0 || !worthwhile(c, creators) {
		return
	}
	_, span := o.tracer.Start(
		c.ctx, "claim "+store, client, c.startedAt(), trace.WithLinks(creators...))
	if span.IsRecording() {
		which := idOf(records[0].ID)
		if len(records) > 1 {
			which = attribute.Int("messaging.batch.message_count", len(records))
		}
		span.SetAttributes(about("receive", "claim", store, which)...)
	}
	end(span, firstError(nil, claimed.Errs))
}

// traceSettle makes the span of an End or a Cancel, and the span of the work that an End has ended.
func (o *observer) traceSettle(
	c *call, store, id string, rec *backends.Record, err error) {
	creator := appendLink(nil, rec.Headers)
	if !worthwhile(c, creator) {
		return
	}
	to := trace.WithLinks(creator...)
	if err == nil && c.op == opEnd && !rec.StartedAt.IsZero() {
		_, work := o.tracer.Start(c.ctx, "process "+store, trace.WithNewRoot(), to,
			trace.WithTimestamp(rec.StartedAt), consumer)
		if work.IsRecording() {
			work.SetAttributes(about("process", "process", store, idOf(id),
				outcomeKey.String(rec.Status),
				attribute.Int("pendingq.attempt.number", rec.Attempt))...)
		}
		if rec.Status == backends.StatusFailed {
			work.SetStatus(codes.Error, rec.Error)
		}
		work.End(trace.WithTimestamp(rec.StartedAt.Add(ran(rec))))
	}
	name := operationNames[c.op]
	_, span := o.tracer.Start(c.ctx, name+" "+store, client, c.startedAt(), to)
	if span.IsRecording() {
		span.SetAttributes(about("settle", name, store, idOf(id))...)
		if rec.Status != "" && rec.Ended() {
			span.SetAttributes(outcomeKey.String(rec.Status))
		}
	}
	end(span, err)
}

package pendingotel_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

// story renders each span as a line: its node, its name, its outcome, and the names of the spans
// that it is linked to.
func story(t *testing.T, nodes ...*node) []string {
	t.Helper()
	names := map[api.SpanID]string{}
	for _, n := range nodes {
		for _, s := range n.spans.GetSpans() {
			names[s.SpanContext.SpanID()] = s.Name
		}
	}
	var lines []string
	for i, n := range nodes {
		for _, s := range n.spans.GetSpans() {
			words := []string{"node", string(rune('1' + i)), s.Name, value(s, "pendingq.outcome")}
			for _, l := range s.Links {
				words = append(words, "-> "+names[l.SpanContext.SpanID()])
			}
			lines = append(lines, strings.Join(slices.DeleteFunc(words, func(w string) bool {
				return w == ""
			}), " "))
		}
	}
	return lines
}

// sampledParent is the trace context of a span that is sampled.
const sampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func value(s tracetest.SpanStub, key attribute.Key) string {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return ""
}

func checkStory(t *testing.T, nodes []*node, want ...string) {
	t.Helper()
	if diff := cmp.Diff(story(t, nodes...), want); diff != "" {
		t.Errorf("spans: got - want +\n%s", diff)
	}
}

// checkConventions checks the kinds and attributes of spans about one request.
func checkConventions(t *testing.T, id string, spans ...tracetest.SpanStub) {
	t.Helper()
	kinds := map[string]api.SpanKind{"create jobs": api.SpanKindProducer,
		"claim jobs": api.SpanKindClient, "process jobs": api.SpanKindConsumer,
		"end jobs": api.SpanKindClient}
	for _, s := range spans {
		if got := value(s, "messaging.message.id"); got != id {
			t.Errorf("%s has message id %q, want %q", s.Name, got, id)
		}
		if s.SpanKind != kinds[s.Name] {
			t.Errorf("%s has the kind %s, want %s", s.Name, s.SpanKind, kinds[s.Name])
		}
		if name := value(s, "messaging.operation.name"); s.Name != name+" jobs" {
			t.Errorf("%s has the operation name %q", s.Name, name)
		}
	}
}

func TestTheSpansOfOneRequestAreLinkedAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := memory.New()
		var nodes []*node
		for range 3 {
			nodes = append(nodes, newNode(t, engine, trace.AlwaysSample()))
		}
		front, poll, report := nodes[0], nodes[1], nodes[2]
		ctx, span := front.tracer.Tracer("front end").Start(t.Context(), "POST /reboot")
		r, err := front.store.Create(ctx, box, job{Question: "?"})
		front.must(err)
		span.End()

		<-time.After(2 * time.Second)
		c := poll.pop()
		_, span = poll.tracer.Tracer("device").Start(t.Context(), "reboot",
			api.WithLinks(pendingotel.Link(c.Headers)))
		<-time.After(3 * time.Second)
		span.End()

		held, err := report.store.Held(t.Context(), r.ID, c.Attempt)
		report.must(err)
		report.must(report.store.Complete(t.Context(), held))

		checkStory(t, nodes,
			"node 1 create jobs", "node 1 POST /reboot",
			"node 2 claim jobs -> create jobs", "node 2 reboot -> create jobs",
			"node 3 process jobs completed -> create jobs",
			"node 3 end jobs completed -> create jobs")
		creator, claim := front.spans.GetSpans()[0], poll.spans.GetSpans()[0]
		spans := report.spans.GetSpans()
		work := spans[0]
		if took := work.EndTime.Sub(work.StartTime); took != 3*time.Second {
			t.Errorf("the work took %v, want 3 s by the backend's clock", took)
		}
		checkConventions(t, r.ID, append(spans, creator, claim)...)
		if creator.Parent.SpanID() != front.spans.GetSpans()[1].SpanContext.SpanID() {
			t.Error("the create is not a child of the caller's span")
		}
	})
}

func TestARepeatedCreateKeepsTheFirstContext(t *testing.T) {
	n := newNode(t, memory.New(), trace.AlwaysSample())
	first := n.create(pending.WithIdempotencyKey("once"))
	second := n.create(pending.WithIdempotencyKey("once"))
	if diff := cmp.Diff(second.Headers, first.Headers); diff != "" || len(first.Headers) == 0 {
		t.Errorf("headers: got - want +\n%s", diff)
	}
	spans := n.spans.GetSpans()
	creator := spans[0].SpanContext.SpanID()
	if l := spans[1].Links; len(l) != 1 || l[0].SpanContext.SpanID() != creator {
		t.Errorf("the repeat is linked to %v, want the first", l)
	}
	n.must(n.store.Cancel(t.Context(), second, "enough"))
	checkStory(t, []*node{n}, "node 1 create jobs", "node 1 create jobs -> create jobs",
		"node 1 cancel jobs cancelled -> create jobs")
}

// resending is a backend that sends a Create again, as a client does after a lost reply.
type resending struct{ *memory.Backend }

func (b resending) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	if _, err := b.Backend.Create(ctx, c); err != nil {
		return backends.Record{}, err
	}
	return b.Backend.Create(ctx, c)
}

func TestACreateThatIsSentAgainHasNoLinkToItself(t *testing.T) {
	n := newNode(t, resending{memory.New()}, trace.AlwaysSample())
	n.create()
	n.create(pending.WithHeaders(map[string]string{"traceparent": sampledParent}))
	for i, span := range n.spans.GetSpans() {
		if len(span.Links) != i { // the second is linked to its header
			t.Errorf("create %d has the links %v", i, span.Links)
		}
	}
}

// panicking is a backend whose Create panics.
type panicking struct{ backends.Backend }

func (panicking) Create(context.Context, backends.Create) (backends.Record, error) {
	panic("out of order")
}

func TestAPanicEndsTheSpan(t *testing.T) {
	n := newNode(t, panicking{memory.New()}, trace.AlwaysSample())
	defer func() {
		if recover() == nil {
			t.Error("the panic is lost")
		}
		checkStory(t, []*node{n}, "node 1 create jobs")
	}()
	n.create()
}

func TestOnlyASampledContextTravels(t *testing.T) {
	n := newNode(t, memory.New(), trace.NeverSample())
	if r := n.create(); len(r.Headers) > 0 {
		t.Errorf("headers %v, want none", r.Headers)
	}
	n.must(n.store.Complete(t.Context(), n.pop()))
	checkStory(t, []*node{n}, nil...)
}

func TestACreatorThatIsNotSampledMakesNoSpans(t *testing.T) {
	n := newNode(t, memory.New(), trace.ParentBased(trace.AlwaysSample()))
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	_, err := n.store.Create(under(0), box, job{},
		pending.WithHeaders(map[string]string{"traceparent": parent}))
	n.must(err)
	n.must(n.store.Complete(t.Context(), n.pop()))
	checkStory(t, []*node{n})
}

// The caller's sampler has decided.
func TestUnderASpanThatIsNotSampledACreateMakesNone(t *testing.T) {
	n := newNode(t, memory.New(), trace.AlwaysSample())
	never := trace.NewTracerProvider(trace.WithSampler(trace.NeverSample())).Tracer("front end")
	ctx, _ := never.Start(t.Context(), "POST /reboot")
	r, err := n.store.Create(ctx, box, job{})
	n.must(err)
	checkStory(t, []*node{n})
	if len(r.Headers) > 0 {
		t.Errorf("the headers are %v, want none", r.Headers)
	}
}

func TestWithoutASampledCreatorOnlyASampledCallerHasSpans(t *testing.T) {
	engine := memory.New()
	front := newNode(t, engine, trace.NeverSample())
	worker := newNode(t, engine, trace.AlwaysSample())
	front.create()
	worker.must(worker.store.Complete(t.Context(), worker.pop()))
	checkStory(t, []*node{worker}, nil...)

	front.create()
	c := worker.pop()
	ctx, span := worker.tracer.Tracer("worker").Start(t.Context(), "report")
	worker.must(worker.store.Complete(ctx, c))
	span.End()
	checkStory(t, []*node{worker}, "node 1 process jobs completed", "node 1 end jobs completed",
		"node 1 report")
}

func TestTheCallersHeadersStay(t *testing.T) {
	n := newNode(t, memory.New(), trace.AlwaysSample())
	theirs := map[string]string{"tenant": "7"}
	r := n.create(pending.WithHeaders(theirs))
	if len(theirs) != 1 || r.Headers["tenant"] != "7" || r.Headers["traceparent"] == "" {
		t.Errorf("the caller's map is %v, the request's %v", theirs, r.Headers)
	}
	r = n.create(pending.WithHeaders(map[string]string{"traceparent": sampledParent}))
	if got := r.Headers["traceparent"]; got != sampledParent {
		t.Errorf("traceparent is %q, want the caller's", got)
	}
	r = n.create(pending.WithHeaders(map[string]string{"tracestate": "vendor=1"}))
	if got := r.Headers["tracestate"]; got != "" {
		t.Errorf("tracestate is %q, want none: it came without a traceparent", got)
	}
	large := map[string]string{"note": strings.Repeat("x", 4<<10-len("note"))}
	if r = n.create(pending.WithHeaders(large)); len(r.Headers) != 1 {
		t.Errorf("the request has %d headers, want 1: the context is over the limit",
			len(r.Headers))
	}
}

func TestOneClaimOfManyRequestsIsOneSpan(t *testing.T) {
	n := newNode(t, memory.New(), trace.AlwaysSample())
	for range 3 {
		n.create()
	}
	_, err := n.store.PopPendingBatch(t.Context(), box, 10)
	n.must(err)
	spans := n.spans.GetSpans()
	if got := len(spans[3].Links); len(spans) != 4 || got != 3 {
		t.Errorf("%d spans, the last has %d links", len(spans), got)
	}
	if got := value(spans[3], "messaging.batch.message_count"); got != "3" {
		t.Errorf("the message count is %q, want 3", got)
	}
}

func TestSpansTellRefusalsFromFailures(t *testing.T) {
	n := newNode(t, memory.New(), trace.AlwaysSample())
	n.create()
	c := n.pop()
	n.must(n.store.Fail(t.Context(), c, "no disk"))
	if err := n.store.Complete(t.Context(), c); !errors.Is(err, pending.ErrEnded) {
		t.Errorf("complete a failed request: got %v, want ErrEnded", err)
	}
	spans := n.spans.GetSpans()
	work, refused := spans[2], spans[len(spans)-1]
	if work.Status.Code != codes.Error || work.Status.Description != "no disk" {
		t.Errorf("the work that failed has status %v", work.Status)
	}
	if kind := value(refused, "error.type"); refused.Status.Code != codes.Unset || kind != "ended" {
		t.Errorf("the refusal has status %v and type %q", refused.Status, kind)
	}

	n = newNode(t, refusing{memory.New()}, trace.AlwaysSample())
	_, err := n.store.Create(t.Context(), box, job{})
	failed := n.spans.GetSpans()[0]
	if err == nil || failed.Status.Code != codes.Error || value(failed, "error.type") != "_OTHER" {
		t.Errorf("%v: status %v, type %q", err, failed.Status, value(failed, "error.type"))
	}
}

// refusing is a backend whose Create fails.
type refusing struct{ backends.Backend }

func (refusing) Create(context.Context, backends.Create) (backends.Record, error) {
	return backends.Record{}, errors.New("the disk is full")
}

func TestALinkNeedsATraceContext(t *testing.T) {
	for _, headers := range []map[string]string{nil, {"traceparent": "nonsense"}} {
		if pendingotel.Link(headers).SpanContext.IsValid() {
			t.Errorf("%v has a valid link", headers)
		}
	}
}

package pendingotel_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

// open lets everybody do everything.
type open struct{}

func (open) Caller(*http.Request) (string, error) { return "somebody", nil }

func (open) Allow(*http.Request, string, remote.Action, string, string) (bool, error) {
	return true, nil
}

// overHTTP serves a node's backend and returns a client of it.
func overHTTP(t *testing.T, n *node) backends.Backend {
	t.Helper()
	handler, err := remote.Handler(n.backend, remote.Config{Stores: []pending.Policy{policy()},
		Access: open{}, Logger: slog.New(slog.DiscardHandler)})
	n.must(err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(handler.Drain)
	client, err := remote.New(server.URL, nil)
	n.must(err)
	t.Cleanup(client.Close)
	return client
}

// A front end creates at the first API node. A device claims at the second and reports at the
// third. All of them are instrumented, and each span is linked to the front end's.
func TestTheSpansOfOneRequestAreLinkedOverHTTP(t *testing.T) {
	engine := memory.New()
	var nodes []*node
	for range 3 {
		nodes = append(nodes, newNode(t, engine, trace.AlwaysSample()))
	}
	front := newNode(t, overHTTP(t, nodes[0]), trace.AlwaysSample())
	polls := newNode(t, overHTTP(t, nodes[1]), trace.AlwaysSample())
	reports := newNode(t, overHTTP(t, nodes[2]), trace.AlwaysSample())
	nodes = append(nodes, front, polls, reports)

	r := front.create()
	c := polls.pop()
	_, span := polls.tracer.Tracer("device").Start(t.Context(), "reboot",
		api.WithLinks(pendingotel.Link(c.Headers)))
	span.End()
	held, err := reports.store.Held(t.Context(), r.ID, c.Attempt)
	reports.must(err)
	held.Payload.Answer = "!"
	reports.must(reports.store.Complete(t.Context(), held))

	checkStory(t, nodes,
		"node 1 create jobs -> create jobs", // the API nodes
		"node 2 claim jobs -> create jobs",
		"node 3 process jobs completed -> create jobs",
		"node 3 end jobs completed -> create jobs",
		"node 4 create jobs",                                               // the front end
		"node 5 claim jobs -> create jobs", "node 5 reboot -> create jobs", // the device
		"node 6 process jobs completed -> create jobs",
		"node 6 end jobs completed -> create jobs")
	creator := front.spans.GetSpans()[0].SpanContext
	for i, n := range nodes {
		for _, s := range n.spans.GetSpans() {
			if n != front && (len(s.Links) != 1 || !sameSpan(s.Links[0].SpanContext, creator)) {
				t.Errorf("node %d: %s is linked to %v, want the front end's create",
					i+1, s.Name, s.Links)
			}
			id := value(s, "messaging.message.id")
			if s.Name != "reboot" && id != r.ID {
				t.Errorf("node %d: %s is about %q, want %q", i+1, s.Name, id, r.ID)
			}
		}
	}
}

func sameSpan(x, y api.SpanContext) bool {
	return x.TraceID() == y.TraceID() && x.SpanID() == y.SpanID()
}

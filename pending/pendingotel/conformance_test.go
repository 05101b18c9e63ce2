package pendingotel_test

import (
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/memory"
)

// A decorator must not change what a backend does. Without a sampled span, headers do not change
// either.
func TestConformance(t *testing.T) {
	for name, open := range map[string]func() backends.Backend{
		"memory":              func() backends.Backend { return memory.New() },
		"memory, claims many": func() backends.Backend { return many{memory.New()} },
		"memory, bare methods": func() backends.Backend {
			return struct{ backends.Backend }{memory.New()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backends.Backend {
				return newNode(t, open(), trace.NeverSample()).backend
			}, backendtest.InBubble())
		})
	}
}

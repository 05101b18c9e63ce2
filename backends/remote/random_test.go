package remote_test

import (
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMachineOverMemory(t *testing.T) {
	t.Parallel()
	effort.Rapid()
	backendtest.Machine(t, func(t *testing.T) backends.Backend { return overHTTP(t, memory.New()) })
}

func TestHistoriesOverMemory(t *testing.T) {
	t.Parallel()
	backendtest.Histories(t, func(t *testing.T) backends.Backend {
		return overHTTP(t, memory.New())
	}, usual())
}

// usual returns the options of histories. Without the race detector they show little that others do
// not show, so they are short then.
func usual() *backendtest.HistoriesOptions {
	return &backendtest.HistoriesOptions{Operations: effort.Racing(3_000, 10_000)}
}

func TestHistoriesOverRedis(t *testing.T) {
	t.Parallel()
	b, err := goredis.New(redistest.Client(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	backendtest.Histories(t, func(t *testing.T) backends.Backend { return overHTTP(t, b) }, usual())
}

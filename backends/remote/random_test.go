package remote_test

import (
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMachineOverMemory(t *testing.T) {
	backendtest.Machine(t, func(t *testing.T) backends.Backend { return overHTTP(t, memory.New()) })
}

func TestHistoriesOverMemory(t *testing.T) {
	backendtest.Histories(t, func(t *testing.T) backends.Backend {
		return overHTTP(t, memory.New())
	}, nil)
}

func TestHistoriesOverRedis(t *testing.T) {
	b, err := goredis.New(redistest.Client(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	backendtest.Histories(t, func(t *testing.T) backends.Backend { return overHTTP(t, b) }, nil)
}

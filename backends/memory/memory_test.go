package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(*testing.T) backends.Backend { return memory.New() }

func TestConformance(t *testing.T) { backendtest.Run(t, open) }

func TestConformanceOnFakeTime(t *testing.T) { backendtest.Run(t, open, backendtest.InBubble()) }

package postgres_test

import (
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
)

func TestConformance(t *testing.T) {
	commonPool(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend { return openNew(t) })
}

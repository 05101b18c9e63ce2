package goredis_test

import (
	"testing"

	"github.com/pendingq/pendingq/internal/redistest"
)

// Most tests wait for their servers, so some of them run at a time. Tests that measure time do not
// call parallel: they run before all others, one by one.
var (
	slots    = make(chan struct{}, 4)
	clusters = make(chan struct{}, 1) // it has six servers, which starve beside another six
)

// parallel runs the rest of a test beside others.
func parallel(t *testing.T) {
	t.Helper()
	t.Parallel()
	take(t, slots)
}

// parallelOnCluster is parallel for a test with a Cluster.
func parallelOnCluster(t *testing.T) {
	t.Helper()
	t.Parallel()
	take(t, clusters)
	take(t, slots)
}

func take(t *testing.T, slots chan struct{}) {
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
}

// patientCluster starts a Cluster that does not fail over, however slow the machine is.
func patientCluster(t *testing.T) *redistest.Cluster {
	t.Helper()
	c := redistest.StartCluster(t)
	for _, server := range c.Nodes() {
		config := server.Client(t).ConfigSet(t.Context(), "cluster-node-timeout", "60000")
		if err := config.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

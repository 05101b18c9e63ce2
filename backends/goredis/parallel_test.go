package goredis_test

import "testing"

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

package proof_test

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	operations = flag.Int("ops", 25_000, "how many operations the histories have on a real Redis and in memory; on miniredis it is a fortieth, on a Redis that is killed a tenth, on a cluster a fifth; over HTTP a 50th as many requests are made in memory, on a real Redis a 250th")
	faults     = flag.Int("faults", 60, "how many faults are injected between client and server while the histories are made, beside workers that die or stall")
	failOvers  = flag.Int("failovers", 2, "how many times a master of the cluster fails over while the histories are made; the first is graceful, others kill it")
	matrixFile = flag.String("matrix", "", "the file that the lost-reply matrix is written to, as a table in Markdown; it is complete then, on a cluster, too")
	mutateAll  = flag.Bool("mutations", false, "make all mutations, not only the quick ones")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pass lets time go by, which in most tests is fake.
func pass(d time.Duration) { <-time.After(d) }

// await looks every so often whether a condition holds, and reports whether it did in time.
func await(patience, every time.Duration, condition func() bool) bool {
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-time.After(every):
		case <-deadline:
			return false
		}
	}
	return true
}

package backendtest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/effort"
)

// machineFaults are faults of the sketch that [Machine] has to find.
var machineFaults = []string{
	"a request is not live at its deadline",
	"times have nanoseconds",
	"a full mailbox counts running requests",
	"exclusive does not count running requests",
	"exclusive does not count an expired lease",
	"a repeated create shows the record as stored",
	"the oldest request comes first",
	"HasPending does not see an expired lease",
	"a claim id is remembered for ever",
	"a record never disappears",
	"an expired lease can be extended",
	"refused progress is stored",
	"an expired lease cannot be released",
	"a grace makes a lease longer",
	"an attempt follows a grace",
	"every cancel that was noted reads as cancelled",
	"a noted cancel cannot be overruled",
	"Cancel returns the payload",
	"an end moves the deadlines",
	"any attempt may end a request",
	"a claim loses the headers",
}

// historyFaults are faults of the sketch that [Histories] has to find.
var historyFaults = []string{
	"Get reads the clock after its snapshot of the record",
	"End reads the clock before it takes the lock",
	"Extend reads the clock before it takes the lock",
	"Claim reads the clock before it takes the lock",
	"a create is not atomic",
	"a claim is not atomic",
	"a claim is never remembered",
	"an end is not atomic",
	"a full mailbox counts running requests",
	"exclusive does not count running requests",
	"exclusive does not count an expired lease",
	"the oldest request comes first",
	"HasPending does not see an expired lease",
	"an expired lease can be extended",
	"refused progress is stored",
	"a released request cannot be claimed",
	"a grace makes a lease longer",
	"an attempt follows a grace",
	"any attempt may end a request",
	"a claim loses the headers",
}

func TestMachineFindsFaults(t *testing.T) {
	for _, fault := range effort.Plain(effort.Third(machineFaults), machineFaults) {
		t.Run(fault, func(t *testing.T) {
			wantReport(t, func() *recorder {
				return inBubble(t, func(r *recorder) {
					runMachine(onlyTB{r}, newSketch(fault), true)
				})
			})
		})
	}
}

func TestHistoriesFindFaults(t *testing.T) {
	for _, fault := range effort.Plain(effort.Third(historyFaults), historyFaults) {
		t.Run(fault, func(t *testing.T) {
			wantReport(t, func() *recorder {
				r := &recorder{TB: t}
				recording(func() { runHistories(r, newSketch(fault), nil) })
				return r
			})
		})
	}
}

func TestMachineAllowsSlowBackends(t *testing.T) {
	setFlag("rapid.checks", "30")
	defer setFlag("rapid.checks", manyChecks)
	for _, delay := range []time.Duration{0, 200 * time.Millisecond, 400 * time.Millisecond} {
		b := slow{memory.New(), delay, 400*time.Millisecond - delay}
		wantNoReport(t, inBubble(t, func(r *recorder) { runMachine(onlyTB{r}, b, false) }))
	}
}

func TestHistoriesAllowSlowBackends(t *testing.T) {
	for delay, tolerance := range map[time.Duration]time.Duration{
		0: 0, 10 * time.Millisecond: 50 * time.Millisecond, 20 * time.Millisecond: 0,
	} {
		r := &recorder{TB: t}
		b := slow{memory.New(), delay, 20*time.Millisecond - delay}
		opts := &HistoriesOptions{Operations: 1000, ClockTolerance: tolerance}
		recording(func() { runHistories(r, b, opts) })
		wantNoReport(t, r)
	}
}

func TestTheSketchPasses(t *testing.T) {
	setFlag("rapid.checks", "100")
	defer setFlag("rapid.checks", manyChecks)
	wantNoReport(t, inBubble(t, func(r *recorder) { runMachine(onlyTB{r}, newSketch(""), true) }))
	r := &recorder{TB: t}
	recording(func() { runHistories(r, newSketch(""), &HistoriesOptions{Operations: 3000}) })
	wantNoReport(t, r)
}

// If the backend has another clock, Histories reports the clock, not a fault of the backend.
func TestHistoriesNameTheClock(t *testing.T) {
	r := &recorder{TB: t}
	recording(func() { runHistories(r, otherClock{memory.New()}, nil) })
	if len(r.reports) != 1 || !strings.Contains(r.reports[0], "clock") {
		t.Errorf("got %q, want one report of the clock", r.reports)
	}
}

// otherClock is a Backend with a clock that is a minute behind.
type otherClock struct{ backends.Backend }

func (o otherClock) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	rec, err := o.Backend.Create(ctx, c)
	rec.CreatedAt = rec.CreatedAt.Add(-time.Minute)
	return rec, err
}

// inBubble runs a test in a bubble and returns its reports.
func inBubble(t *testing.T, run func(*recorder)) *recorder {
	r := &recorder{}
	synctest.Test(t, func(t *testing.T) {
		r.TB = t
		recording(func() { run(r) })
	})
	return r
}

// recording runs a test in a goroutine, which the test may end.
func recording(run func()) {
	var running sync.WaitGroup
	running.Go(run)
	running.Wait()
}

// wantReport runs a random test until it reports a fault. One run always finds most faults. It
// finds the rarest in about nine of ten runs.
func wantReport(t *testing.T, run func() *recorder) {
	t.Helper()
	for range 10 {
		if len(run().reports) > 0 {
			return
		}
	}
	t.Error("no fault was reported")
}

func wantNoReport(t *testing.T, r *recorder) {
	t.Helper()
	for _, report := range r.reports {
		t.Error(report)
	}
}

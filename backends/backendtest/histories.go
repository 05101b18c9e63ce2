package backendtest

import (
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/history"
)

// HistoriesOptions are the options of [Histories]. All fields may be zero.
type HistoriesOptions struct {
	// Operations is how many calls are made. 0 means 10,000, which show everything at least once.
	Operations int

	// Disturb makes one fault between the backend and its storage, such as a connection that is
	// cut. It returns when the fault is over: when no reply gets lost any more. Meanwhile calls may
	// fail with an error that is none of package backends, and whoever called repeats them. Turn
	// counts the faults, from 1. Nil means no faults.
	Disturb func(turn int)

	// Faults is how many times Disturb is called. 0 means 10.
	Faults int

	// ClockTolerance is how far the backend's clock may be from the clock of this process. 0 means
	// that both are one clock. A tolerance makes the checks less sharp by that time.
	ClockTolerance time.Duration

	// Pace is the unit of all times of requests: leases last for 4 to 12 of it, and requests wait
	// for 30. 0 means a time that suits the backend: some calls long, and at least 0.25 ms.
	Pace time.Duration
}

// Histories makes calls by many callers at once, and records what each caller saw. Then it checks,
// request by request, that one store which does one operation after the other could have answered
// so; and, mailbox by mailbox, that claims went by age, and that no cap and no exclusive mailbox
// was wider or narrower than it should be.
//
//	func TestHistories(t *testing.T) {
//		backendtest.Histories(t, open, nil)
//	}
//
// Leases expire, requests time out, workers die or report late, callers give up and repeat: all of
// it happens all the time. The calls take as long as the backend needs, 48 at a time. A slow
// backend fails no check. A call without an answer may have happened or not. Its effect has to be
// explained only if somebody has seen it.
//
// Open is called once. Options may be nil.
//
// # How to read a failure
//
// "No order explains" is followed by the calls about one request, in the order in which they began.
// Times are microseconds since the first one: when the call began, when it was answered, and what
// times the record had. Look for two lines that contradict each other. Other failures name the rule
// and the request.
func Histories(
	t *testing.T, open func(t *testing.T) backends.Backend, opts *HistoriesOptions,
) {
	t.Helper()
	runHistories(t, open(t), opts)
}

func runHistories(t testing.TB, b backends.Backend, opts *HistoriesOptions) {
	t.Helper()
	var o HistoriesOptions
	if opts != nil {
		o = *opts
	}
	if o.Operations == 0 {
		o.Operations = 10_000
	}
	if o.Faults == 0 {
		o.Faults = 10
	}
	s := &history.Sessions{Backend: b, Operations: int64(o.Operations),
		Tolerance: o.ClockTolerance, Pace: o.Pace, Faults: &history.Faults{Inject: o.Disturb,
			Every: max(1, int64(o.Operations/o.Faults))}}
	s.Run(t)
}

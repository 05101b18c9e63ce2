package backendtest

import (
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/history"
)

// HistoriesOptions are the options of [Histories]. All fields may be zero.
type HistoriesOptions struct {
	// Operations is the number of calls. 0 means 10,000, which cover every case at least once.
	Operations int

	// Disturb causes one fault between the backend and its storage, such as a cut connection. It
	// returns when the fault is over, and no reply is lost any more. During the fault calls may
	// fail with errors from outside package backends, and their callers repeat them. Turn counts
	// the faults, from 1. Nil means no faults.
	Disturb func(turn int)

	// Faults is the number of calls of Disturb. 0 means 10.
	Faults int

	// ClockTolerance is the largest difference between the backend's clock and this process's
	// clock. 0 means that both are the same clock. A tolerance makes the checks less strict.
	ClockTolerance time.Duration

	// Pace is the unit of all timeouts: a lease lasts 4 to 12 Paces, and a request waits for 30.
	// 0 means the duration of some calls of the backend, at least 0.25 ms.
	Pace time.Duration
}

// Histories makes calls by many concurrent callers, and records all replies. Then it checks the
// calls about each request: a store that does one operation after the other must be able to give
// the same replies. For each mailbox it also checks the order of claims, MaxPending and Exclusive.
//
//	func TestHistories(t *testing.T) {
//		backendtest.Histories(t, open, nil)
//	}
//
// During the calls leases expire, requests time out, workers die or report late, and callers give
// up and repeat. 48 calls run at a time, and each may take any time: a slow backend fails no check.
// A call without a reply may or may not have happened. The check includes such a call if another
// caller has seen its effect.
//
// Open is called once. Options may be nil.
//
// # How to read a failure
//
// The text after "no order explains" lists the calls about one request, in the order of their
// beginning. Each line has the call's beginning, its end and the times in the record, all in
// microseconds since the first call. Look for two lines that contradict each other. Other failures
// name the rule and the request.
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

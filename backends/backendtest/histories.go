package backendtest

import (
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/history"
)

// HistoriesOptions are the options of [Histories]. All fields may be zero.
type HistoriesOptions struct {
	// Operations is the least number of calls. 0 means 10,000. From 10,000 on, each effect that the
	// checks need has to occur, such as a cancel. For that, Histories makes up to three times as
	// many calls.
	Operations int

	// Disturb causes one fault between the backend and its storage, such as a cut connection. It
	// returns when the fault is over and no further reply can be lost. During the fault, calls may
	// fail with errors from outside package backends. Their callers repeat these calls. Turn is the
	// number of the fault, from 1. Nil means no faults.
	Disturb func(turn int)

	// Faults is the number of calls of Disturb. 0 means 10.
	Faults int

	// ClockTolerance is the largest difference between the backend's clock and this process's
	// clock. 0 means that both are the same clock. A tolerance makes the checks less strict.
	ClockTolerance time.Duration

	// Pace is the unit of all timeouts: a lease lasts 4 to 12 Paces, and a request waits for 30.
	// 0 means four times the duration of a call, at least ClockTolerance and at least 0.25 ms.
	Pace time.Duration
}

// Histories makes calls by many concurrent callers, and records all replies. Then it looks at the
// calls for each request: one order of these calls, one after the other, must explain all replies.
// For each mailbox it also checks the order of claims, MaxPending and Exclusive.
//
//	func TestHistories(t *testing.T) {
//		backendtest.Histories(t, open, nil)
//	}
//
// During the calls leases expire, requests time out, workers die or report late, and callers give
// up and repeat. 48 calls run at a time, and each may take any time: a slow backend fails no check.
// A call without a reply may or may not have happened. The check assumes that it has happened if
// another caller has seen its effect.
//
// Histories calls open once. Opts may be nil.
//
// # How to read a failure
//
// The text after "no order explains" lists the calls for one request, in the order in which they
// began. Each line has three kinds of times: when the call began, when it ended, and the times in
// the record. All are microseconds since the first call. Look for two lines that contradict each
// other. Other failures name the rule and the request.
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

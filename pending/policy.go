package pending

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Policy says how a store treats its requests. All nodes should give a store the same policy. While
// a change is rolled out, each operation goes by the policy of the node that runs it, and deadlines
// that are set stand. The first three durations must each be between 1 ms and 10 years.
type Policy struct {
	Name string // of the store, in keys, errors and metrics: 1 to 64 of [a-z0-9_:.-]

	// PendingTimeout is how long a request may wait for a claim before it times out. A request whose
	// lease expired waits as long again, if MaxAttempts allows another attempt.
	PendingTimeout time.Duration

	// RunningTimeout is how long a worker may be silent after its claim or its last Extend. Then the
	// request can be claimed again, if MaxAttempts allows it. Otherwise the request times out.
	RunningTimeout time.Duration

	Retention time.Duration // how long a request stays readable after it has ended or timed out

	// CancelGrace is how long the worker of a running request may still end it in its own way after
	// a Cancel, at most 10 years. 0: a Cancel ends a running request at once.
	CancelGrace time.Duration

	MaxAttempts int  // how often a request may be handed out, at most 9,999. 0 or 1: never twice
	Exclusive   bool // allows a mailbox one live request; Create refuses another: [BusyError]
	MaxPending  int  // how many requests of a mailbox may wait; then [ErrFull]. 0: no limit
	MaxPayload  int  // bytes of an encoded payload, at most 256 MiB; else [ErrTooLarge]. 0: 16 MiB

	// Outcomes are further ways to end, for Finish: each 1 to 32 of [a-z0-9_.-], and none of the
	// statuses of the library.
	Outcomes []Status
}

const (
	minDuration       = time.Millisecond
	maxDuration       = 10 * 365 * 24 * time.Hour
	maxAttempts       = 9999
	defaultMaxPayload = 16 << 20
	maxMaxPayload     = 256 << 20
)

var (
	validName    = regexp.MustCompile(`^[a-z0-9_:.-]{1,64}$`)
	validOutcome = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`) // and the name of a codec
)

// check returns an error that names a field with an invalid value.
func (p Policy) check() error {
	if !validName.MatchString(p.Name) {
		return fmt.Errorf("%w: Policy.Name %.80q is not 1 to 64 of [a-z0-9_:.-]", ErrInvalid, p.Name)
	}
	taken := []Status{StatusPending, StatusRunning, StatusCompleted, StatusFailed, StatusTimeout,
		StatusCancelled}
	for _, outcome := range p.Outcomes {
		if !validOutcome.MatchString(string(outcome)) {
			return fmt.Errorf("%w: Policy.Outcomes has %.40q, which is not 1 to 32 of [a-z0-9_.-]",
				ErrInvalid, outcome)
		}
		if slices.Contains(taken, outcome) {
			return fmt.Errorf("%w: Policy.Outcomes has %q, which is taken", ErrInvalid, outcome)
		}
		taken = append(taken, outcome)
	}
	return cmp.Or(
		checkRange("Policy.PendingTimeout", p.PendingTimeout, minDuration, maxDuration),
		checkRange("Policy.RunningTimeout", p.RunningTimeout, minDuration, maxDuration),
		checkRange("Policy.Retention", p.Retention, minDuration, maxDuration),
		checkRange("Policy.CancelGrace", p.CancelGrace, 0, maxDuration),
		checkRange("Policy.MaxAttempts", p.MaxAttempts, 0, maxAttempts),
		checkRange("Policy.MaxPending", p.MaxPending, 0, math.MaxInt32),
		checkRange("Policy.MaxPayload", p.MaxPayload, 0, maxMaxPayload))
}

// checkRange returns an error if a value is not between low and high.
func checkRange[N int | time.Duration](what string, value, low, high N) error {
	if value < low || value > high {
		return fmt.Errorf("%w: %s is %v, want %v to %v", ErrInvalid, what, value, low, high)
	}
	return nil
}

// terms is the policy as backends take it.
func (p Policy) terms() backends.Terms {
	return backends.Terms{
		Store:          p.Name,
		PendingTimeout: p.PendingTimeout.Truncate(time.Microsecond),
		RunningTimeout: p.RunningTimeout.Truncate(time.Microsecond),
		Retention:      p.Retention.Truncate(time.Microsecond),
		MaxAttempts:    max(p.MaxAttempts, 1),
		Exclusive:      p.Exclusive,
		MaxPending:     p.MaxPending,
	}
}

package pending

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Policy says how a store treats its requests. Stores of one name on different nodes should have one policy;
// while a change is rolled out, each operation goes by the policy of the node that runs it, and deadlines once
// set stand.
type Policy struct {
	// Name names the store in keys, errors and metrics: 1 to 64 of [a-z0-9_:.-].
	Name string

	// PendingTimeout is how long a request may wait for a claim before it times out. A claim that lapsed, where
	// MaxAttempts allows another, waits as long again. At least 1 ms, at most ten years, as all three.
	PendingTimeout time.Duration

	// RunningTimeout is how long a worker may be silent after its claim, or its last Extend, before the request
	// times out or, where MaxAttempts allows, can be claimed again.
	RunningTimeout time.Duration

	// Retention is how long a request stays readable after it has ended or timed out.
	Retention time.Duration

	// CancelGrace is how long the worker of a running request may still end it in its own way after
	// a Cancel. 0: a Cancel ends a running request at once. At most ten years.
	CancelGrace time.Duration

	// MaxAttempts is how often a request may be handed out, at most 9,999. 0 or 1: never twice.
	MaxAttempts int

	// Exclusive allows a mailbox one live request at a time; another is refused with a BusyError.
	Exclusive bool

	// MaxPending is how many requests of a mailbox may wait for a claim; another is refused with ErrFull. 0: no
	// limit.
	MaxPending int

	// MaxPayload is how large an encoded payload may be, in bytes, at most 256 MiB; a larger one is refused with
	// ErrTooLarge. 0: 16 MiB.
	MaxPayload int

	// Outcomes are further ways to end, for Finish: each 1 to 32 of [a-z0-9_.-] and none of the statuses that the
	// library has already.
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
	validOutcome = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`)
)

// check returns what cannot work, naming the field.
func (p Policy) check() error {
	if !validName.MatchString(p.Name) {
		return fmt.Errorf("%w: Policy.Name %.80q is not 1 to 64 of [a-z0-9_:.-]", ErrInvalid, p.Name)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"PendingTimeout", p.PendingTimeout}, {"RunningTimeout", p.RunningTimeout}, {"Retention", p.Retention}} {
		if d.value < minDuration || d.value > maxDuration {
			return fmt.Errorf("%w: Policy.%s is %v, want %v to %v", ErrInvalid, d.field, d.value, minDuration, maxDuration)
		}
	}
	if p.CancelGrace < 0 || p.CancelGrace > maxDuration {
		return fmt.Errorf("%w: Policy.CancelGrace is %v, want 0 to %v",
			ErrInvalid, p.CancelGrace, maxDuration)
	}
	for _, n := range []struct {
		field      string
		value, max int
	}{{"MaxAttempts", p.MaxAttempts, maxAttempts}, {"MaxPending", p.MaxPending, 1 << 31},
		{"MaxPayload", p.MaxPayload, maxMaxPayload}} {
		if n.value < 0 || n.value > n.max {
			return fmt.Errorf("%w: Policy.%s is %d, want 0 to %d", ErrInvalid, n.field, n.value, n.max)
		}
	}
	return p.checkOutcomes()
}

func (p Policy) checkOutcomes() error {
	taken := []Status{StatusPending, StatusRunning, StatusCompleted, StatusFailed, StatusTimeout,
		StatusCancelled}
	for _, outcome := range p.Outcomes {
		if !validOutcome.MatchString(string(outcome)) {
			return fmt.Errorf("%w: Policy.Outcomes has %.40q, which is not 1 to 32 of [a-z0-9_.-]", ErrInvalid, outcome)
		}
		if slices.Contains(taken, outcome) {
			return fmt.Errorf("%w: Policy.Outcomes has %q, which is taken", ErrInvalid, outcome)
		}
		taken = append(taken, outcome)
	}
	return nil
}

// maxPayload is MaxPayload or its default.
func (p Policy) maxPayload() int {
	if p.MaxPayload == 0 {
		return defaultMaxPayload
	}
	return p.MaxPayload
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

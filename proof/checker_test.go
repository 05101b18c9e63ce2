package proof_test

import (
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// sameMicrosecond is a create and two claims, all at one time of the server. Second is the second
// claim.
func sameMicrosecond(second call) []*call {
	terms := backends.Terms{Store: "s", PendingTimeout: time.Second, RunningTimeout: time.Second,
		MaxAttempts: 1}
	create := backends.Create{Terms: terms, ID: "a", Mailbox: "m"}
	made := newlyCreated(create, 10, 10)
	made.Mailbox = create.Mailbox
	running := made
	running.Status, running.Attempt, running.StartedAt = backends.StatusRunning, 1, made.CreatedAt
	claim := backends.Claim{ID: "c", Mailbox: "m", From: []backends.From{{Terms: terms, Limit: 1}}}
	claimed := []backends.Claimed{{Records: []backends.Record{running}}}
	second.op, second.claimed, second.began, second.was = claim, claimed, 10, 11
	return []*call{
		{op: create, rec: made, began: 10, was: 11},
		{op: create, rec: made, began: 10, was: 11, repeat: true},
		{op: claim, claimed: claimed, began: 10, was: 11},
		&second,
	}
}

func TestCheckerAllowsARepeatWithinTheMicrosecond(t *testing.T) {
	if err := newHistory(sameMicrosecond(call{repeat: true})).check(); err != nil {
		t.Error(err)
	}
}

func TestCheckerFindsTwoClaimsOfOneAttemptWithinAMicrosecond(t *testing.T) {
	if err := newHistory(sameMicrosecond(call{})).check(); err == nil {
		t.Error("one attempt was given to two claims, and the checker found nothing")
	}
}

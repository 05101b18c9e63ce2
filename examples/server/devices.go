package main

import (
	"net/http"
	"time"

	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// deviceBackups is the store of examples/device. The server has this store if the configuration
// file names no stores.
var deviceBackups = pending.Policy{Name: "backup", PendingTimeout: 10 * time.Minute,
	RunningTimeout: time.Minute, Retention: time.Hour, CancelGrace: 10 * time.Second,
	MaxAttempts: 3, MaxPayload: 64 << 10}

// deviceAccess decides by the tokens file: people make requests, and the runtime's daemon works.
type deviceAccess struct{ *access }

// Caller implements [remote.Access].
func (a deviceAccess) Caller(r *http.Request) (string, error) {
	if p, known := a.people[sent(r)]; known {
		return "user " + p.User, nil
	}
	if runtimeID, known := a.daemons[sent(r)]; known {
		return "runtime " + runtimeID, nil
	}
	return "", nil
}

// Allow implements [remote.Access].
func (a deviceAccess) Allow(
	r *http.Request, _ string, action remote.Action, _, mailbox string) (bool, error) {
	worker, err := a.Daemon(r, mailbox)
	if err != nil {
		return false, nil // the token is wrong, or its runtime has been deleted
	}
	requester, err := a.Requester(r, mailbox)
	asks := requester.Role >= skillshttp.RoleMember
	switch action {
	case remote.ActionRead:
		return worker || asks, err
	case remote.ActionClaim, remote.ActionReport:
		return worker, err
	}
	return asks, err
}

package main

import (
	"net/http"
	"strings"

	"github.com/pendingq/pendingq/skills/skillshttp"
)

// access decides by a tokens file.
type access struct {
	people  map[digest]person
	daemons map[digest]string // the runtime of each daemon
	deleted map[string]bool
}

// everyOther stands for all runtimes that a person's entry does not name.
const everyOther = "*"

// Requester implements [skillshttp.Access].
func (a *access) Requester(r *http.Request, runtimeID string) (skillshttp.Requester, error) {
	d := sent(r)
	p, known := a.people[d]
	if _, daemon := a.daemons[d]; !known && !daemon {
		return skillshttp.Requester{}, skillshttp.ErrUnauthenticated
	}
	if !known || a.deleted[runtimeID] {
		return skillshttp.Requester{}, nil
	}
	role, named := p.Runtimes[runtimeID]
	if !named {
		role = p.Runtimes[everyOther]
	}
	return skillshttp.Requester{UserID: p.User, Role: skillshttp.Role(role)}, nil
}

// Daemon implements [skillshttp.Access].
func (a *access) Daemon(r *http.Request, runtimeID string) (bool, error) {
	d := sent(r)
	speaksFor, known := a.daemons[d]
	if _, person := a.people[d]; !known && !person {
		return false, skillshttp.ErrUnauthenticated
	}
	if !known || speaksFor != runtimeID {
		return false, nil
	}
	if a.deleted[runtimeID] {
		return false, skillshttp.ErrRuntimeGone
	}
	return true, nil
}

// sent returns the digest of a request's token. No entry has the digest of an empty token.
func sent(r *http.Request) digest {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	return digestOf(strings.TrimSpace(token))
}

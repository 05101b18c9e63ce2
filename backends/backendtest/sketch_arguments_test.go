package backendtest

import (
	"slices"
	"strings"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// The faults here are about the arguments of calls.

// terms changes the terms of a call.
func (s *sketch) terms(t *backends.Terms) {
	t.Store = s.cut("a store", t.Store)
	t.PendingTimeout = s.lasts("a pending timeout", t.PendingTimeout)
	t.RunningTimeout = s.lasts("a running timeout", t.RunningTimeout)
	t.Retention = s.lasts("a retention", t.Retention)
}

// from returns the changed stores of a claim.
func (s *sketch) from(from []backends.From) []backends.From {
	from = slices.Clone(from)
	for i := range from {
		s.terms(&from[i].Terms)
		if s.has("the limit of a claim's first store is the limit of all") {
			from[i].Limit = from[0].Limit
		}
	}
	return from
}

func (s *sketch) cut(what, name string) string {
	if s.has(what + " has 16 bytes") {
		return name[:min(16, len(name))]
	}
	return name
}

func (s *sketch) lasts(what string, d time.Duration) time.Duration {
	if s.has(what + " has 32 bits of milliseconds") {
		return time.Duration(int32(d.Milliseconds())) * time.Millisecond
	}
	return d
}

// sameMailbox reports whether two names mean the same mailbox.
func (s *sketch) sameMailbox(a, b string) bool {
	return a == b || s.has("mailboxes have no letter case") && strings.EqualFold(a, b)
}

// believe moves a request to the mailbox that a call names.
func (s *sketch) believe(what string, r *sketched, hint string) {
	if s.has(what+" believes its hint") && hint != "" {
		r.rec.Mailbox = hint
	}
}

// expires changes when a record disappears that has ended. It would have disappeared at earlier.
func (s *sketch) expires(what string, r *sketched, earlier time.Time) {
	if s.has(what+" keeps the record's expiry") ||
		s.has(what+" never makes a record live longer") && earlier.Before(r.goes) {
		r.goes = earlier
	}
}

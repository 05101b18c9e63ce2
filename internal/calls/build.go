package calls

import (
	"bytes"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Stage makes calls that must succeed, to prepare a scenario. Its methods end the test on an error.
type Stage struct {
	*testing.T
	B backends.Backend
}

// Box is the mailbox of all operations that this package builds.
const Box = "runtime-1"

// Store has the terms of a store, and builds operations with them.
type Store backends.Terms

// Terms returns the terms of the store.
func (t Store) Terms() backends.Terms { return backends.Terms(t) }

// Lasting returns terms with long times. No two of the times are equal.
func Lasting(store string) Store {
	return Store{
		Store:          store,
		PendingTimeout: time.Hour,
		RunningTimeout: 2 * time.Hour,
		Retention:      4 * time.Hour,
		MaxAttempts:    1,
	}
}

// Retried returns lasting terms with three attempts.
func Retried() Store {
	t := Lasting("retried")
	t.MaxAttempts = 3
	return t
}

// Exclusive returns lasting terms of an exclusive store with two attempts.
func Exclusive() Store {
	t := Lasting("exclusive")
	t.Exclusive, t.MaxAttempts = true, 2
	return t
}

// Capped returns lasting terms of a store that allows one pending request.
func Capped() Store {
	t := Lasting("capped")
	t.MaxPending = 1
	return t
}

// Probe creates a request with a random id.
func (t Store) Probe() backends.Create { return t.Question(backends.NewID("")) }

// Get reads a request.
func (t Store) Get(id string) Get { return Get{t.Terms(), id} }

// Look calls HasPending.
func (t Store) Look() Look { return Look{t.Terms(), Box} }

// Question creates a request. Its id depends on the key.
func (t Store) Question(key string) backends.Create {
	return backends.Create{
		Terms:   t.Terms(),
		ID:      backends.DeriveID(t.Store, Box, key),
		Mailbox: Box,
		Codec:   "raw",
		Payload: []byte("question " + key),
	}
}

// Poll claims up to limit requests of each store. Its claim id is always the same.
func Poll(limit int, stores ...Store) backends.Claim {
	c := backends.Claim{ID: "claim", Mailbox: Box}
	for _, t := range stores {
		c.From = append(c.From, backends.From{Terms: t.Terms(), Limit: limit})
	}
	return c
}

// Answer ends a request as failed.
func (t Store) Answer(id string, attempt int) backends.End {
	return backends.End{
		Terms:   t.Terms(),
		ID:      id,
		Attempt: attempt,
		Outcome: backends.StatusFailed,
		Error:   "why",
		Codec:   "other",
		Payload: []byte("answer"),
	}
}

// LargeQuestion is a Question whose payload goredis stores under its own key.
func (t Store) LargeQuestion(key string) backends.Create {
	c := t.Question(key)
	c.Payload = bytes.Repeat([]byte("question"), 10_000)
	return c
}

// LargeAnswer is an Answer whose payload goredis stores under its own key.
func (t Store) LargeAnswer(id string, attempt int) backends.End {
	e := t.Answer(id, attempt)
	e.Mailbox, e.Payload = Box, bytes.Repeat([]byte("answer"), 10_000)
	return e
}

// GivingUp ends a request as timed out.
func (t Store) GivingUp(id string) backends.Cancel {
	return backends.Cancel{Terms: t.Terms(), ID: id, Outcome: backends.StatusTimeout,
		Error: "gave up"}
}

// Cancelling cancels a request with a grace.
func (t Store) Cancelling(id string, grace time.Duration) backends.Cancel {
	return backends.Cancel{Terms: t.Terms(), ID: id, Outcome: backends.StatusCancelled,
		Error: "not needed", Grace: grace}
}

// WithHeaders adds headers with unusual characters.
func WithHeaders(c backends.Create) backends.Create {
	c.Headers = map[string]string{"trace": "\x00<é>", "": "\n"}
	return c
}

// Extending extends the first attempt of a request.
func (t Store) Extending(id string) backends.Extend {
	return backends.Extend{Terms: t.Terms(), ID: id, Attempt: 1}
}

// WithProgress adds progress.
func WithProgress(e backends.Extend) backends.Extend {
	e.Codec, e.Payload = "progress", []byte("half")
	return e
}

// Releasing releases the first attempt of a request.
func (t Store) Releasing(id string, after time.Duration) backends.Extend {
	return backends.Extend{Terms: t.Terms(), ID: id, Attempt: 1, Release: true, After: after}
}

// WithLargeProgress adds progress that goredis stores under its own key.
func WithLargeProgress(e backends.Extend) backends.Extend {
	e.Codec, e.Payload, e.Mailbox = "progress", bytes.Repeat([]byte("half"), 10_000), Box
	return e
}

// Must makes a call that must succeed.
func (s *Stage) Must(op any) *Call {
	s.Helper()
	c := &Call{Op: op}
	if c.Perform(s.Context(), s.B); c.Err != nil {
		s.Fatalf("%T: %v", op, c.Err)
	}
	return c
}

// Pending creates a request and returns its id.
func (s *Stage) Pending(t Store, key string) string {
	s.Helper()
	return s.Must(WithHeaders(t.Question(key))).Rec.ID
}

// Running creates and claims a request, and returns its id.
func (s *Stage) Running(t Store, key string) string {
	s.Helper()
	id := s.Pending(t, key)
	c := Poll(1, t)
	c.ID = "earlier claim"
	s.Must(c)
	return id
}

// Cancelled creates and claims a request, cancels it with a grace, and returns its id.
func (s *Stage) Cancelled(t Store, key string) string {
	s.Helper()
	id := s.Running(t, key)
	s.Must(t.Cancelling(id, time.Hour))
	return id
}

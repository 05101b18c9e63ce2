package calls

import (
	"bytes"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// Stage is where a scenario is arranged, past all faults. Its methods end the test when they do not
// work.
type Stage struct {
	*testing.T
	B backends.Backend
}

const Box = "runtime-1"

// Store is a store's terms, from which operations are built.
type Store backends.Terms

func (t Store) Terms() backends.Terms { return backends.Terms(t) }

// Lasting are terms under which nothing runs out, with times that tell each other apart.
func Lasting(store string) Store {
	return Store{Store: store, PendingTimeout: time.Hour, RunningTimeout: 2 * time.Hour,
		Retention:   4 * time.Hour,
		MaxAttempts: 1}
}

func Retried() Store {
	t := Lasting("retried")
	t.MaxAttempts = 3
	return t
}

func Exclusive() Store {
	t := Lasting("exclusive")
	t.Exclusive, t.MaxAttempts = true, 2
	return t
}

func Capped() Store {
	t := Lasting("capped")
	t.MaxPending = 1
	return t
}

// Probe is a new request that nobody looks at.
func (t Store) Probe() backends.Create { return t.Question(backends.NewID("")) }

// Get reads a request.
func (t Store) Get(id string) Get { return Get{t.Terms(), id} }

// Look asks whether box has something pending.
func (t Store) Look() Look { return Look{t.Terms(), Box} }

// Question is a new request; each key makes an id of its own.
func (t Store) Question(key string) backends.Create {
	return backends.Create{Terms: t.Terms(), ID: backends.DeriveID(t.Store, Box, key), Mailbox: Box,
		Codec:   "raw",
		Payload: []byte("question " + key)}
}

func Poll(limit int, stores ...Store) backends.Claim {
	c := backends.Claim{ID: "claim", Mailbox: Box}
	for _, t := range stores {
		c.From = append(c.From, backends.From{Terms: t.Terms(), Limit: limit})
	}
	return c
}

func (t Store) Answer(id string, attempt int) backends.End {
	return backends.End{Terms: t.Terms(), ID: id, Outcome: backends.StatusFailed, Error: "why",
		Attempt: attempt, Codec: "other",
		Payload: []byte("answer")}
}

// LargeQuestion has a key of its own.
func (t Store) LargeQuestion(key string) backends.Create {
	c := t.Question(key)
	c.Payload = bytes.Repeat([]byte("question"), 10_000)
	return c
}

// LargeAnswer has a key of its own.
func (t Store) LargeAnswer(id string, attempt int) backends.End {
	e := t.Answer(id, attempt)
	e.Mailbox, e.Payload = Box, bytes.Repeat([]byte("answer"), 10_000)
	return e
}

func (t Store) GivingUp(id string) backends.Cancel {
	return backends.Cancel{Terms: t.Terms(), ID: id, Outcome: backends.StatusTimeout, Error: "gave up"}
}

// Cancelling leaves the worker a grace.
func (t Store) Cancelling(id string, grace time.Duration) backends.Cancel {
	return backends.Cancel{Terms: t.Terms(), ID: id, Outcome: backends.StatusCancelled,
		Error: "not needed",
		Grace: grace}
}

func WithHeaders(c backends.Create) backends.Create {
	c.Headers = map[string]string{"trace": "\x00<é>", "": "\n"}
	return c
}

func (t Store) Extending(id string) backends.Extend {
	return backends.Extend{Terms: t.Terms(), ID: id, Attempt: 1}
}

func WithProgress(e backends.Extend) backends.Extend {
	e.Codec, e.Payload = "progress", []byte("half")
	return e
}

func (t Store) Releasing(id string, after time.Duration) backends.Extend {
	return backends.Extend{Terms: t.Terms(), ID: id, Attempt: 1, Release: true, After: after}
}

// WithLargeProgress has a key of its own.
func WithLargeProgress(e backends.Extend) backends.Extend {
	e.Codec, e.Payload, e.Mailbox = "progress", bytes.Repeat([]byte("half"), 10_000), Box
	return e
}

func (s *Stage) Must(op any) *Call {
	s.Helper()
	c := &Call{Op: op}
	if c.Perform(s.Context(), s.B); c.Err != nil {
		s.Fatalf("arranging %T: %v", op, c.Err)
	}
	return c
}

func (s *Stage) Pending(t Store, key string) string {
	s.Helper()
	return s.Must(WithHeaders(t.Question(key))).Rec.ID
}

func (s *Stage) Running(t Store, key string) string {
	s.Helper()
	id := s.Pending(t, key)
	c := Poll(1, t)
	c.ID = "earlier claim"
	s.Must(c)
	return id
}

// Cancelled has a cancel noted.
func (s *Stage) Cancelled(t Store, key string) string {
	s.Helper()
	id := s.Running(t, key)
	s.Must(t.Cancelling(id, time.Hour))
	return id
}

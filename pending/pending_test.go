package pending_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// job is the payload of these tests.
type job struct {
	Command string            `json:"command"`
	Output  string            `json:"output,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Owner   string            `json:"-"`
}

type (
	jobStore   = pending.PendingStore[job]
	jobRequest = pending.Request[job]
	jobClaim   = pending.Claim[job]
)

const box = "runtime-1"

func policy() pending.Policy {
	return pending.Policy{
		Name:           "jobs",
		PendingTimeout: time.Minute,
		RunningTimeout: 2 * time.Minute,
		Retention:      3 * time.Minute,
		Outcomes:       []pending.Status{"conflict"},
	}
}

// twice is a policy that allows two attempts.
func twice() pending.Policy {
	p := policy()
	p.MaxAttempts = 2
	return p
}

// patient is a policy that allows two attempts, and 10 seconds after a cancel.
func patient() pending.Policy {
	p := twice()
	p.CancelGrace = 10 * time.Second
	return p
}

// onEach runs a test on fake time, over memory and over Redis.
func onEach(t *testing.T, test func(t *testing.T, b backends.Backend)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, memory.New()) })
	})
	t.Run("redis", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, client := redistest.Mini(t)
			b, err := goredis.New(client, nil)
			mustDo(t, err)
			t.Cleanup(func() { b.Close() })
			test(t, b)
		})
	})
}

func newStore(t *testing.T, b backends.Backend, p pending.Policy) *jobStore {
	t.Helper()
	s, err := pending.New(b, codec.JSON[job](), p)
	mustDo(t, err)
	return s
}

// newMsgpackStore makes the store of a node that writes Msgpack and also reads JSON.
func newMsgpackStore(t *testing.T, b backends.Backend) *jobStore {
	t.Helper()
	s, err := pending.New(b, codec.Msgpack[job](), policy(), pending.AlsoReads(codec.JSON[job]()))
	mustDo(t, err)
	return s
}

func create(t *testing.T, s *jobStore, opts ...pending.CreateOption) *jobRequest {
	t.Helper()
	r, err := s.Create(t.Context(), box, job{Command: "uptime", Owner: "ada"}, opts...)
	mustDo(t, err)
	return r
}

func pop(
	t *testing.T, s *jobStore, opts ...pending.PopOption) *jobClaim {
	t.Helper()
	c, err := s.PopPending(t.Context(), box, opts...)
	mustDo(t, err)
	return c
}

// held returns the claim at an attempt. An API node gets it so when a report arrives.
func held(
	t *testing.T, s *jobStore, id string, attempt int) *jobClaim {
	t.Helper()
	c, err := s.Held(t.Context(), id, attempt)
	mustDo(t, err)
	return c
}

func get(t *testing.T, s *jobStore, id string) *jobRequest {
	t.Helper()
	r, err := s.Get(t.Context(), id)
	mustDo(t, err)
	return r
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkErr checks that a call returned an error, which errors.Is finds.
func checkErr(t *testing.T, call string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", call, got, want)
	}
}

// checkInvalid checks that an error is ErrInvalid and that its text contains want.
func checkInvalid(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, pending.ErrInvalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want ErrInvalid with the text %s", err, want)
	}
}

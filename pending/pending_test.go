package pending_test

import (
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

const box = "runtime-1"

func policy() pending.Policy {
	return pending.Policy{Name: "jobs", PendingTimeout: time.Minute, RunningTimeout: 2 * time.Minute,
		Retention: 3 * time.Minute, Outcomes: []pending.Status{"conflict"}}
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
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			test(t, b)
		})
	})
}

func newStore(t *testing.T, b backends.Backend, p pending.Policy) *pending.PendingStore[job] {
	t.Helper()
	s, err := pending.New(b, codec.JSON[job](), p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *pending.PendingStore[job], opts ...pending.CreateOption) *pending.Request[job] {
	t.Helper()
	r, err := s.Create(t.Context(), box, job{Command: "uptime", Owner: "ada"}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pop(
	t *testing.T, s *pending.PendingStore[job], opts ...pending.PopOption) *pending.Claim[job] {
	t.Helper()
	c, err := s.PopPending(t.Context(), box, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// held returns the claim of a request at an attempt, as an API node gets it for a report.
func held(
	t *testing.T, s *pending.PendingStore[job], id string, attempt int) *pending.Claim[job] {
	t.Helper()
	c, err := s.Held(t.Context(), id, attempt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, s *pending.PendingStore[job], id string) *pending.Request[job] {
	t.Helper()
	r, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

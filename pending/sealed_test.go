package pending_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
)

// node is a store with its own keyring. A test may change the keyring.
type node struct {
	*jobStore
	keys atomic.Pointer[codec.Keys]
}

func (n *node) SealingKey(mailbox string) (string, []byte, error) {
	return n.keys.Load().SealingKey(mailbox)
}

func (n *node) OpeningKey(mailbox, id string) ([]byte, error) {
	return n.keys.Load().OpeningKey(mailbox, id)
}

// keys returns a keyring that seals with the first key and opens with all keys.
func keys(ids ...string) *codec.Keys {
	k := &codec.Keys{ByID: map[string][]byte{}}
	for _, id := range ids {
		k.ByID[id] = bytes.Repeat([]byte(id[:1]), 32)
	}
	if len(ids) > 0 {
		k.Sealing = ids[0]
	}
	return k
}

func newNode(t *testing.T, b backends.Backend, p pending.Policy, ids ...string) *node {
	t.Helper()
	n := &node{}
	n.keys.Store(keys(ids...))
	s, err := pending.New(b, codec.Sealed(codec.Zstd(codec.JSON[job](), nil), n), p)
	mustDo(t, err)
	n.jobStore = s
	return n
}

func TestASealedRequestGoesFromQuestionToAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newNode(t, b, policy(), "a").jobStore
		asked := create(t, s)
		stored := record(t, b, asked.ID)
		if stored.Codec != "sealed.zstd.json" || bytes.Contains(stored.Payload, []byte("uptime")) {
			t.Errorf("codec %s stored %q", stored.Codec, stored.Payload)
		}
		r := pop(t, s)
		r.Payload.Output = "up 3 days"
		mustDo(t, s.Complete(t.Context(), r))
		mustDo(t, s.Complete(t.Context(), r)) // a retry succeeds
		other := *r
		other.Payload.Output = "up 4 days"
		checkErr(t, "another report", s.Complete(t.Context(), &other), pending.ErrEnded)
		if got := get(t, s, asked.ID); got.Payload.Output != "up 3 days" {
			t.Errorf("the answer is %q", got.Payload.Output)
		}
		gaveUp := create(t, s)
		mustDo(t, s.Timeout(t.Context(), gaveUp))
		if got := get(t, s, gaveUp.ID); got.Payload.Command != "uptime" {
			t.Errorf("a timeout lost the question: %+v", got)
		}
	})
}

// An attacker with write access moves sealed questions.
func TestASealedPayloadCannotBeMoved(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		p := policy()
		s := newNode(t, b, p, "a").jobStore
		question := record(t, b, create(t, s).ID)
		c := pop(t, s)
		mustDo(t, s.Complete(t.Context(), c))
		answer := record(t, b, c.ID)

		// plant stores a payload as a question, and reads it.
		plant := func(policy pending.Policy, mailbox, id string, payload []byte) error {
			empty := memory.New() // as if the attacker had deleted all records
			_, err := empty.Create(t.Context(), backends.Create{Terms: terms(policy), ID: id,
				Mailbox: mailbox, Codec: question.Codec, Payload: payload})
			mustDo(t, err)
			return failure(newNode(t, empty, policy, "a").Get(t.Context(), id))
		}
		other := p
		other.Name = "other"
		mustDo(t, plant(p, box, question.ID, question.Payload))
		checkAllDecodeErrors(t, map[string]error{
			"in another request":      plant(p, box, backends.NewID(box), question.Payload),
			"in another mailbox":      plant(p, "runtime-2", question.ID, question.Payload),
			"in another store":        plant(other, box, question.ID, question.Payload),
			"an answer as a question": plant(p, box, answer.ID, answer.Payload),
			"plain text":              plant(p, box, question.ID, []byte(`{"command":"rm"}`)),
		})
	})
}

// An attacker with write access moves sealed answers.
func TestASealedAnswerCannotBeMoved(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		s := newNode(t, b, policy(), "a").jobStore
		create(t, s)
		c := pop(t, s)
		mustDo(t, s.Complete(t.Context(), c))
		answer := record(t, b, c.ID)

		// plant stores a payload as an answer, and reads it.
		plant := func(id string, payload []byte) error {
			_, err := b.End(t.Context(), backends.End{Terms: terms(policy()), ID: id,
				Outcome: "completed", Codec: answer.Codec, Payload: payload})
			mustDo(t, err)
			return failure(s.Get(t.Context(), id))
		}
		waiting := record(t, b, create(t, s).ID)
		checkAllDecodeErrors(t, map[string]error{
			"a question as an answer":      plant(waiting.ID, waiting.Payload),
			"an answer to another request": plant(create(t, s).ID, answer.Payload),
		})
	})
}

// record returns the record of a request as the backend has stored it.
func record(t *testing.T, b backends.Backend, id string) backends.Record {
	t.Helper()
	rec, err := b.Get(t.Context(), "jobs", id)
	mustDo(t, err)
	return rec
}

func checkAllDecodeErrors(t *testing.T, errs map[string]error) {
	t.Helper()
	for what, err := range errs {
		if decode := new(pending.DecodeError); !errors.As(err, &decode) {
			t.Errorf("%s: got %v, want a DecodeError", what, err)
		}
	}
}

func terms(p pending.Policy) backends.Terms {
	return backends.Terms{
		Store:          p.Name,
		PendingTimeout: p.PendingTimeout,
		RunningTimeout: p.RunningTimeout,
		Retention:      p.Retention,
		MaxAttempts:    1,
	}
}

func TestARequestWhoseKeyIsUnknownCanBeFailed(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		asked := create(t, newNode(t, b, policy(), "old").jobStore)
		s := newNode(t, b, policy(), "new").jobStore
		_, err := s.PopPending(t.Context(), box)
		unread := new(pending.DecodeError)
		if !errors.As(err, &unread) || unread.ID != asked.ID {
			t.Fatalf("got %v, want a DecodeError of %s", err, asked.ID)
		}
		if !errors.Is(err, codec.ErrUnknownKey) || !strings.Contains(err.Error(), `"old"`) {
			t.Errorf("got %v, want ErrUnknownKey with the name of the key", err)
		}
		c, err := s.Held(t.Context(), unread.ID, unread.Attempt)
		if !errors.Is(err, codec.ErrUnknownKey) {
			t.Errorf("Held: got %v, want ErrUnknownKey beside the claim", err)
		}
		mustDo(t, s.Fail(t.Context(), c, "nobody can read this request"))
		if got := get(t, s, asked.ID); got.Status != pending.StatusFailed {
			t.Errorf("got status %s, want failed", got.Status)
		}
		c.Mailbox = ""
		checkErr(t, "without its mailbox", s.Fail(t.Context(), c, "again"), pending.ErrInvalid)
	})
}

func TestAKeyringThatFailsStoresNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		n := newNode(t, b, policy(), "a")
		asked := create(t, n.jobStore)
		r := pop(t, n.jobStore)
		n.keys.Store(keys())
		_, err := n.Create(t.Context(), box, job{})
		checkErr(t, "Create", err, codec.ErrUnknownKey)
		if errors.Is(err, pending.ErrInvalid) { // a repeat may succeed
			t.Errorf("Create: got ErrInvalid: %v", err)
		}
		if has, err := n.HasPending(t.Context(), box); has || err != nil {
			t.Errorf("HasPending: got %v, %v; want false", has, err)
		}
		if err := n.Complete(t.Context(), r); !errors.Is(err, codec.ErrUnknownKey) {
			t.Errorf("Complete: got %v, want the keyring's error", err)
		}
		n.keys.Store(keys("a"))
		if got := get(t, n.jobStore, asked.ID); got.Status != pending.StatusRunning {
			t.Errorf("got status %s, want running", got.Status)
		}
	})
}

// Three nodes change their keys one after another, under traffic. Every request gets its answer.
func TestKeysAreChangedUnderTraffic(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		var nodes []*node
		for range 3 {
			nodes = append(nodes, newNode(t, b, policy(), "old"))
		}
		ctx, stop := context.WithCancel(t.Context())
		var traffic sync.WaitGroup
		var answered atomic.Int64
		for i := range 8 {
			traffic.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					device, command := fmt.Sprint("device-", i), fmt.Sprint("command ", n)
					err := oneLifecycle(ctx, nodes, device, command)
					if err != nil && ctx.Err() == nil {
						t.Errorf("request %d of device %d: %v", n, i, err)
						return
					}
					answered.Add(1)
				}
			})
		}
		for _, ids := range [][]string{{"old", "new"}, {"new", "old"}, {"new"}} {
			before := answered.Load()
			for _, n := range nodes {
				calls.Pass(time.Minute)
				n.keys.Store(keys(ids...))
			}
			calls.Pass(6 * time.Minute) // the longest life of a request
			if answered.Load() == before {
				t.Errorf("no request was answered while the keys were %v", ids)
			}
		}
		stop()
		traffic.Wait()
	})
}

// oneLifecycle runs each step of a request at a random node.
func oneLifecycle(ctx context.Context, nodes []*node, device, command string) error {
	at := func() *jobStore { return nodes[rand.IntN(len(nodes))].jobStore }
	think := func() { calls.Pass(rand.N(time.Minute)) }
	asked, err := at().Create(ctx, device, job{Command: command})
	if err != nil {
		return err
	}
	think()
	r, err := at().PopPending(ctx, device)
	if err != nil {
		return err
	}
	think()
	r.Payload.Output = "done " + r.Payload.Command
	for range 2 { // the answer to the first report was lost
		if err := at().Complete(ctx, r); err != nil {
			return err
		}
		think()
	}
	got, err := at().Get(ctx, asked.ID)
	if err == nil && got.Payload.Output != "done "+command {
		err = fmt.Errorf("the answer is %+v", got)
	}
	return err
}

// The keyring of a worker may depend on a server.
func TestAWorkerWaitsForTheKeyOfItsAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, b backends.Backend) {
		n := newNode(t, b, policy(), "a")
		opts := pending.WorkerOptions{Logger: slog.New(slog.DiscardHandler)}
		r := create(t, n.jobStore)
		stop := work(t, n.jobStore, opts, func(_ context.Context, c *jobClaim) error {
			n.keys.Store(keys())
			c.Payload.Output = "done"
			return nil
		})
		calls.Pass(time.Minute)
		n.keys.Store(keys("a"))
		calls.Pass(time.Minute) // longer than any pause between two tries
		if got := get(t, n.jobStore, r.ID); got.Payload.Output != "done" {
			t.Errorf("got %s, %q; want the answer", got.Status, got.Error)
		}
		stop()
	})
}

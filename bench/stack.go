package bench

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
)

// Stack is a way to keep pending requests: pendingq or a baseline.
type Stack interface {
	// Lifecycle creates a request, pops it, completes it and reads the answer.
	Lifecycle(ctx context.Context, mailbox string) error
	// Create creates a request that stays pending.
	Create(ctx context.Context, mailbox string) error
}

// Job is the payload of lifecycles: a question and an answer, some hundred bytes together.
type Job struct {
	Command string `json:"command"`
	Output  string `json:"output,omitempty"`
	UserID  string `json:"-"`
}

var (
	question = Job{Command: "refresh the local index", UserID: userID}
	answer   = strings.Repeat("indexed ok. ", 16)
)

// Policy returns the policy of the store of lifecycles.
func Policy() pending.Policy {
	return pending.Policy{Name: "job", PendingTimeout: 3 * time.Minute, RunningTimeout: time.Minute,
		Retention: 2 * time.Minute, MaxPending: 2_000_000}
}

// library is pendingq.
type library struct {
	store  *pending.PendingStore[Job]
	answer string
	held   bool // a report loads its claim
}

// NewLibrary returns pendingq over a backend.
func NewLibrary(b backends.Backend) (Stack, error) {
	store, err := pending.New(b, codecOf[Job]("msgpack"), Policy())
	return library{store: store, answer: answer}, err
}

// NewMemory returns pendingq in memory.
func NewMemory() (Stack, error) { return NewLibrary(memory.New()) }

// NewRedis returns pendingq over Redis. Opts may be nil.
func NewRedis(client redis.UniversalClient, opts *goredis.Options) (Stack, error) {
	b, err := goredis.New(client, opts)
	if err != nil {
		return nil, err
	}
	return NewLibrary(b)
}

// Held returns the same stack of pendingq, whose report loads its claim with Held. A stateless node
// does so for the report of a worker.
func Held(s Stack) Stack {
	l := s.(library)
	l.held = true
	return l
}

// Answering returns the same stack over Redis with answers of so many bytes.
func Answering(s Stack, bytes int) Stack {
	sized := strings.Repeat(answer, bytes/len(answer)+1)[:bytes]
	switch s := s.(type) {
	case library:
		s.answer = sized
		return s
	case original:
		s.answer = sized
		return s
	}
	return s
}

func (l library) Create(ctx context.Context, mailbox string) error {
	_, err := l.store.Create(ctx, mailbox, question)
	return err
}

func (l library) Lifecycle(ctx context.Context, mailbox string) error {
	asked, err := l.store.Create(ctx, mailbox, question)
	if err != nil {
		return err
	}
	c, err := l.store.PopPending(ctx, mailbox)
	if err == nil && l.held {
		c, err = l.store.Held(ctx, c.ID, c.Attempt)
	}
	if err != nil {
		return err
	}
	c.Payload.Output = l.answer
	if err := l.store.Complete(ctx, c); err != nil {
		return err
	}
	_, err = l.store.Get(ctx, asked.ID)
	return err
}

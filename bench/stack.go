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

// Stack is a way to keep pending requests: this library's, or a baseline.
type Stack interface {
	// Lifecycle creates a request, pops it, completes it and reads the answer.
	Lifecycle(ctx context.Context, mailbox string) error
	// Create makes a request that is left pending.
	Create(ctx context.Context, mailbox string) error
}

// Job is the payload of lifecycles: a question and an answer of some hundred bytes together.
type Job struct {
	Command string `json:"command"`
	Output  string `json:"output,omitempty"`
	UserID  string `json:"-"`
}

var (
	question = Job{Command: "refresh the local index", UserID: userID}
	answer   = strings.Repeat("indexed ok. ", 16)
)

// Policy is that of the store of lifecycles.
func Policy() pending.Policy {
	return pending.Policy{Name: "job", PendingTimeout: 3 * time.Minute, RunningTimeout: time.Minute, Retention: 2 * time.Minute, MaxPending: 2_000_000}
}

// library is pendingq itself.
type library struct {
	store  *pending.PendingStore[Job]
	answer string
}

// NewLibrary is pendingq over a backend.
func NewLibrary(b backends.Backend, codecName string) (Stack, error) {
	store, err := pending.New(b, codecOf[Job](codecName), Policy())
	return library{store, answer}, err
}

// Answering is the same stack over Redis with answers of so many bytes.
func Answering(s Stack, bytes int) Stack {
	sized := strings.Repeat(answer, bytes/len(answer)+1)[:bytes]
	switch s := s.(type) {
	case library:
		return library{s.store, sized}
	case original:
		return original{s.client, sized}
	}
	return s
}

// NewMemory is pendingq in memory.
func NewMemory(codecName string) (Stack, error) { return NewLibrary(memory.New(), codecName) }

// NewRedis is pendingq over Redis.
func NewRedis(client redis.UniversalClient, codecName string, pipeline goredis.AutoPipeline) (Stack, error) {
	b, err := goredis.New(client, &goredis.Options{AutoPipeline: pipeline, Prefix: "bench:"})
	if err != nil {
		return nil, err
	}
	return NewLibrary(b, codecName)
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
	r, err := l.store.PopPending(ctx, mailbox)
	if err != nil {
		return err
	}
	r.Payload.Output = l.answer
	if err := l.store.Complete(ctx, r); err != nil {
		return err
	}
	_, err = l.store.Get(ctx, asked.ID)
	return err
}

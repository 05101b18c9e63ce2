// Package catalogue remembers which models each runtime can use, so that a server can answer most
// requests for a list of models at once. [Memory] is for a single node, [Redis] for any number of
// nodes.
package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/skills"
)

// Lifetime is how long an entry stays valid after its At.
const Lifetime = 24 * time.Hour

// Entry is the list of models that a runtime has reported.
type Entry struct {
	Models []skills.Model `json:"models"`
	At     time.Time      `json:"at"` // when the runtime reported it
}

// Memory is a catalogue in this process. Its zero value is empty. It may be used concurrently. It
// shares no memory with its callers.
type Memory struct {
	mu      sync.Mutex
	entries map[string]encoded
}

// encoded is an Entry as JSON.
type encoded struct {
	at   time.Time
	text []byte
}

// Put replaces the entry of a runtime, and deletes expired entries.
func (m *Memory) Put(_ context.Context, runtimeID string, e Entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return failed("put", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[string]encoded{}
	}
	for id, other := range m.entries {
		if time.Since(other.at) >= Lifetime {
			delete(m.entries, id)
		}
	}
	m.entries[runtimeID] = encoded{e.At, text}
	return nil
}

// Get returns the entry of a runtime, or nil.
func (m *Memory) Get(_ context.Context, runtimeID string) (*Entry, error) {
	m.mu.Lock()
	e, ok := m.entries[runtimeID]
	m.mu.Unlock()
	if !ok || time.Since(e.at) >= Lifetime {
		return nil, nil
	}
	return decode(e.text)
}

// Drop removes the entry of a runtime.
func (m *Memory) Drop(_ context.Context, runtimeID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, runtimeID)
	return nil
}

// Redis is a catalogue that all nodes share. Each runtime has one key, which Redis deletes at the
// end of the [Lifetime]. It may be used concurrently.
type Redis struct {
	client redis.UniversalClient
	prefix string
}

// NewRedis returns a catalogue whose keys are the prefix, "models:" and the id of the runtime.
func NewRedis(client redis.UniversalClient, prefix string) *Redis {
	return &Redis{client, prefix + "models:"}
}

// Put replaces the entry of a runtime.
func (r *Redis) Put(ctx context.Context, runtimeID string, e Entry) error {
	text, err := json.Marshal(e)
	if err == nil {
		err = r.client.Set(ctx, r.prefix+runtimeID, text, Lifetime).Err()
	}
	return failed("put", err)
}

// Get returns the entry of a runtime, or nil.
func (r *Redis) Get(ctx context.Context, runtimeID string) (*Entry, error) {
	text, err := r.client.Get(ctx, r.prefix+runtimeID).Bytes()
	if errors.Is(err, redis.Nil) || err == nil && len(text) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, failed("get", err)
	}
	return decode(text)
}

func decode(text []byte) (*Entry, error) {
	var e Entry
	if json.Unmarshal(text, &e) != nil {
		return nil, failed("get", errors.New("the entry is not valid JSON"))
	}
	return &e, nil
}

// Drop removes the entry of a runtime. It sets an empty text that expires at once, so a Redis user
// needs only the right to SET.
func (r *Redis) Drop(ctx context.Context, runtimeID string) error {
	return failed("drop", r.client.Set(ctx, r.prefix+runtimeID, "", time.Millisecond).Err())
}

func failed(what string, err error) error {
	if err != nil {
		err = fmt.Errorf("catalogue: %s an entry: %w", what, err)
	}
	return err
}

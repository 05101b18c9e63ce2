package proof_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/proof/cutproxy"
)

// environment is where sessions run: a backend, and the faults between it and its storage.
type environment struct {
	b       backends.Backend
	proxy   *cutproxy.Proxy   // nil where nothing lies in between
	control []*redis.Client   // of each server, past the proxy
	server  *redistest.Server // nil unless it is to be killed
	every   int64             // a fault comes after so many operations
	pace    time.Duration     // of sessions
	slow    time.Duration     // of every other session; 0: of none
	shards  *shards           // nil where nothing fails over

	operations  atomic.Int64
	begun, over atomic.Int64 // disturbances
	cuts        atomic.Int64
	flushes     atomic.Int64
	kills       atomic.Int64
	restarts    atomic.Int64
	abandoned   atomic.Int64
}

func memoryEnvironment(*testing.T) *environment {
	return &environment{b: memory.New(), pace: time.Millisecond / 4}
}

// miniEnvironment has slow sessions: on the wall clock, and busy, miniredis expires keys up to some 100 ms early.
func miniEnvironment(t *testing.T) *environment {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return redisEnvironment(t, 100*time.Millisecond, func(opts redis.Options) *redis.Client {
		opts.Addr = m.Addr()
		client := redis.NewClient(&opts)
		t.Cleanup(func() { client.Close() })
		return client
	})
}

// killedEnvironment is a Redis whose every write is on disk before it is answered, and that is killed and restarted.
func killedEnvironment(t *testing.T) *environment {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	env := redisEnvironment(t, 10*time.Millisecond, func(opts redis.Options) *redis.Client { return server.ClientWith(t, opts) })
	env.server = server
	return env
}

func realEnvironment(t *testing.T) *environment {
	server := redistest.Start(t)
	return redisEnvironment(t, time.Millisecond, func(opts redis.Options) *redis.Client { return server.ClientWith(t, opts) })
}

// clusterEnvironment has three masters, and six mailboxes at a time are somewhere on them. Every other session is so
// slow that something is left of it after a fail-over.
func clusterEnvironment(t *testing.T) *environment {
	cluster := redistest.StartCluster(t)
	proxy := cutproxy.New()
	t.Cleanup(proxy.Close)
	client := cluster.ClientWith(t, redis.ClusterOptions{Dialer: proxy.Dial, PoolSize: 64, MinRetryBackoff: time.Millisecond,
		MaxRetryBackoff: 4 * time.Millisecond})
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	shards := newShards(t, cluster)
	return &environment{b: b, pace: 2 * time.Millisecond, slow: 100 * time.Millisecond, proxy: proxy, shards: shards,
		control: slices.Collect(maps.Values(shards.clients))}
}

func redisEnvironment(t *testing.T, pace time.Duration, connect func(redis.Options) *redis.Client) *environment {
	proxy := cutproxy.New()
	t.Cleanup(proxy.Close)
	client := connect(redis.Options{Dialer: proxy.Dial, PoolSize: 64, ContextTimeoutEnabled: true,
		MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 4 * time.Millisecond})
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &environment{b: b, pace: pace, proxy: proxy, control: []*redis.Client{connect(redis.Options{})}}
}

// disturbances changes whenever a reply may have been lost. While a disturbance lasts, it is not calm.
func (e *environment) disturbances() (so int64, calm bool) {
	over, begun := e.over.Load(), e.begun.Load()
	if e.proxy != nil {
		return begun + e.proxy.Cuts(), begun == over
	}
	return begun, begun == over
}

// disturb begins a disturbance.
func (e *environment) disturb() (over func()) {
	e.begun.Add(1)
	return func() { e.over.Add(1) }
}

// awaitCalm waits while a part of the storage is away.
func (e *environment) awaitCalm() {
	if e.shards != nil {
		e.shards.awaitCalm()
	}
}

// stores are those of the next session.
func (e *environment) stores() []backends.Terms {
	if e.slow > 0 && rand.IntN(2) == 0 {
		return sessionStores(e.slow)
	}
	return sessionStores(e.pace)
}

// callContext returns the context of one call. Now and then its caller goes away at once.
func (e *environment) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if rand.IntN(400) == 0 {
		e.abandoned.Add(1)
		return context.WithTimeout(ctx, time.Duration(rand.IntN(500))*time.Microsecond)
	}
	return context.WithTimeout(ctx, 10*time.Second)
}

// count counts an operation on a mailbox and injects a fault, or has its master fail over, when it is time for one.
func (e *environment) count(mailbox string) {
	done := e.operations.Add(1)
	if e.every > 0 && done%e.every == 0 {
		e.inject(done / e.every)
	}
	if e.shards != nil && e.shards.every > 0 && done%e.shards.every == 0 {
		e.shards.failOver(e, done/e.shards.every, mailbox)
	}
}

// inject makes one fault. Their kinds take turns.
func (e *environment) inject(turn int64) {
	defer e.disturb()()
	if e.server != nil {
		e.restarts.Add(1)
		e.server.Restart() // which kills it first
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	switch turn % 5 {
	case 0:
		e.flushes.Add(1)
		for _, server := range e.control {
			_ = server.ScriptFlush(ctx).Err()
		}
	case 1:
		e.kills.Add(1)
		for _, server := range e.control {
			_ = server.Do(ctx, "client", "kill", "type", "normal").Err()
		}
	default:
		e.cuts.Add(1)
		e.proxy.Cut(e.proxy.Left()+1+rand.IntN(4), cutproxy.Scripts)
	}
}

func (e *environment) String() string {
	return fmt.Sprintf("%d operations, %d faults injected (%d cuts of 1 to 4 replies, %d script flushes, %d times all "+
		"connections killed, %d times the server killed), %d calls abandoned", e.operations.Load(),
		e.cuts.Load()+e.flushes.Load()+e.kills.Load()+e.restarts.Load(), e.cuts.Load(), e.flushes.Load(), e.kills.Load(),
		e.restarts.Load(), e.abandoned.Load())
}

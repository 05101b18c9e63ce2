package goredis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestAPrefixMayBeginWithAMinus(t *testing.T) {
	_, client := redistest.Mini(t)
	r := &rig{T: t, b: newBackend(t, client, &goredis.Options{Prefix: "-1:"}), client: client}
	r.lifecycle(lasting("s"), box)
}

// No claim starts before 1970.
func TestAClaimThatStartsBefore1970IsStale(t *testing.T) {
	_, client := redistest.Mini(t)
	r := newRig(t, client)
	terms := lasting("s")
	r.create(terms, box)
	rec := r.claim(terms, box, 1)[0]
	early := time.UnixMicro(-1)
	_, err := r.b.Extend(t.Context(), backends.Extend{
		Terms: terms, ID: rec.ID, Attempt: 1, StartedAt: early})
	_, endErr := r.b.End(t.Context(), backends.End{Terms: terms, ID: rec.ID, Attempt: 1,
		StartedAt: early, Outcome: backends.StatusCompleted})
	if !errors.Is(err, backends.ErrStaleClaim) || !errors.Is(endErr, backends.ErrStaleClaim) {
		t.Errorf("got %v and %v, want ErrStaleClaim", err, endErr)
	}
}

// A create empties a queue with a long time to live, and adds a request that needs less.
func TestAQueueExpiresAfterACreateEmptiedIt(t *testing.T) {
	onFakeTime(t, func(t *testing.T, r *rig, mini *miniredis.Miniredis) {
		long, short := lasting("s"), lasting("s")
		long.PendingTimeout, short.RunningTimeout = time.Second, time.Second
		long.RunningTimeout = 5 * time.Hour
		r.create(long, box)
		time.Sleep(2 * time.Second)
		r.create(short, box)
		if r.client.PTTL(t.Context(), r.queue()).Val() < 0 {
			t.Error("the queue never expires")
		}
	})
}

// After the clock is put back, the only request of a queue runs again. The queue still expires.
func TestAQueueExpiresAfterTheClockWasPutBack(t *testing.T) {
	m, client := redistest.Mini(t)
	now := time.Now()
	m.SetTime(now)
	r := newRig(t, client)
	terms := lasting("s")
	terms.MaxAttempts = 3
	r.create(terms, box)
	r.claim(terms, box, 1)
	m.SetTime(now.Add(90 * time.Minute))
	first := lasting("s")
	first.PendingTimeout = time.Minute
	r.create(first, box)
	r.end(terms, r.claim(terms, box, 1)[0])
	m.SetTime(now)
	if got := r.claim(terms, box, 1); len(got) != 0 {
		t.Fatalf("claimed the running %v", got)
	}
	if ttl := r.client.PTTL(t.Context(), r.queue()).Val(); ttl < 0 {
		t.Error("the queue never expires")
	}
}

// missing is a hook that loses payloads and then fails all other scripts.
type missing struct {
	passing
	claimed bool
}

func (h *missing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if mget, ok := cmd.(*redis.SliceCmd); ok {
			mget.SetVal(make([]any, len(cmd.Args())-1))
			h.claimed = true
			return nil
		}
		if !h.claimed {
			return next(ctx, cmd)
		}
		if strings.Contains(fmt.Sprint(cmd.Args()...), "/p/") {
			cmd.SetErr(redis.Nil)
			return redis.Nil
		}
		return errRefused
	}
}

func (h *missing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if h.claimed {
			return errRefused
		}
		return next(ctx, cmds)
	}
}

// A claim finds no payload and cannot read the record again. It has to return an error.
func TestAClaimWithoutAPayloadReturnsAnError(t *testing.T) {
	server := redistest.Start(t)
	r := newRig(t, server.Client(t))
	terms := lasting("s")
	if _, err := r.b.Create(t.Context(), large(terms, box)); err != nil {
		t.Fatal(err)
	}
	client := server.Client(t)
	client.AddHook(&missing{})
	b := newBackend(t, client, &goredis.Options{Prefix: r.prefix})
	claimed, err := b.Claim(t.Context(), heartbeat(box, 1, terms))
	if err == nil && len(claimed[0].Errs) == 0 {
		t.Errorf("got %v and no error, although the payload is missing", claimed)
	}
}

// before is a hook that acts once, before the first MGET.
type before struct {
	passing
	act func()
}

func (h *before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if _, ok := cmd.(*redis.SliceCmd); ok && h.act != nil {
			act := h.act
			h.act = nil
			act()
		}
		return next(ctx, cmd)
	}
}

// Progress replaces a payload after a repeated claim has read the record, and before it has read
// the payload.
func TestARepeatedClaimReturnsProgressThatReplacedThePayload(t *testing.T) {
	server := redistest.Start(t)
	r, terms := newRig(t, server.Client(t)), lasting("s")
	if _, err := r.b.Create(t.Context(), large(terms, box)); err != nil {
		t.Fatal(err)
	}
	claim := heartbeat(box, 1, terms)
	first, err := r.b.Claim(t.Context(), claim)
	if err != nil {
		t.Fatal(err)
	}
	running := first[0].Records[0]
	progress := bytes.Repeat([]byte("progress"), 1_000)
	client := server.Client(t)
	client.AddHook(&before{act: func() {
		x := backends.Extend{Terms: terms, ID: running.ID, Mailbox: box, Attempt: running.Attempt,
			Codec: "raw", Payload: progress}
		if _, err := r.b.Extend(t.Context(), x); err != nil {
			t.Error(err)
		}
	}})
	b := newBackend(t, client, &goredis.Options{Prefix: r.prefix})
	again, err := b.Claim(t.Context(), claim)
	if err != nil || len(again[0].Errs) > 0 || len(again[0].Records) != 1 ||
		!bytes.Equal(again[0].Records[0].Payload, progress) {
		t.Errorf("got %v, %v; want the request with its progress", again, err)
	}
}

// A repeated create finds its request, although the server is out of memory.
func TestACreateCanBeRepeatedWhenMemoryIsFull(t *testing.T) {
	terms := lasting("s")
	creates := map[string]backends.Create{"small": question(terms, box), "large": large(terms, box)}
	for name, c := range creates {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, redistest.Start(t).Client(t))
			for range 2 {
				if _, err := r.b.Create(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				r.do(r.client, "config", "set", "maxmemory-policy", "noeviction", "maxmemory", "1")
			}
		})
	}
}

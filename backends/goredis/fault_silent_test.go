package goredis_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/redistest"
)

func TestFaultForeignScriptBlocksTheServer(t *testing.T) {
	server := redistest.Start(t, "--lua-time-limit", "1")
	r := newRig(t, server.Client(t))
	blocking := runForeign(t, server)
	ping := func() error { return r.client.Ping(t.Context()).Err() }
	r.until("the server is busy", func() bool { return redis.HasErrorPrefix(ping(), "BUSY") })
	for _, step := range r.steps(question(lasting("s"), box)) {
		if err := step.call(t.Context()); !redis.HasErrorPrefix(err, "BUSY") {
			t.Errorf("%s: got %v, want BUSY", step.name, err)
		}
	}
	r.do(r.client, "script", "kill")
	blocking.Wait()
	r.until("the server is no longer busy", func() bool { return ping() == nil })
	r.lifecycle(lasting("s"), box)
}

// For the first seconds of a long script, by default five, the server sends no reply at all.
func TestFaultForeignScriptSilencesTheServer(t *testing.T) {
	server := redistest.Start(t, "--lua-time-limit", "3600000")
	r := newRig(t, unhurried(t, server))
	r.lifecycle(lasting("s"), "before")
	blocking := runForeign(t, server)
	r.until("the server is silent", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // one ping may be slow
		defer cancel()
		return r.client.Ping(ctx).Err() != nil
	})
	for _, step := range r.steps(question(lasting("s"), box)) {
		r.checkDeadline(step)
	}
	server.Restart()
	blocking.Wait()
	r.lifecycle(lasting("s"), "after")
}

// runForeign runs a script of another application on the server. The script takes minutes, longer
// than the test. Then it ends: if the test is interrupted, its server is not busy for ever.
func runForeign(t *testing.T, server *redistest.Server) *sync.WaitGroup {
	const script = "for i = 1, 1e11 do end"
	foreign := server.ClientWith(t, redis.Options{MaxRetries: -1, ReadTimeout: -1})
	var running sync.WaitGroup
	running.Go(func() { foreign.Eval(context.Background(), script, nil) })
	return &running
}

// unhurried returns a client whose own timeouts are two minutes. So a call that ends earlier has
// ended with its context.
func unhurried(t *testing.T, server *redistest.Server) *redis.Client {
	return server.ClientWith(t, redis.Options{PoolTimeout: 2 * time.Minute,
		ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute})
}

// checkDeadline checks that a call ends with its deadline of 100 ms, and with DeadlineExceeded. It
// allows a minute, for a busy machine.
func (r *rig) checkDeadline(s step) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := s.call(ctx); !errors.Is(err, context.DeadlineExceeded) {
		r.Errorf("%s: got %v, want DeadlineExceeded", s.name, err)
	}
	if took := time.Since(start); took > time.Minute {
		r.Errorf("%s took %v with a timeout of 100 ms", s.name, took)
	}
}

func TestFaultServerStalls(t *testing.T) {
	server := redistest.Start(t)
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) {
			newPipeliningRig(t, unhurried(t, server), mode).checkStall(server)
		})
	}
}

func TestFaultPoolIsExhausted(t *testing.T) {
	server := redistest.Start(t)
	client := server.ClientWith(t, redis.Options{PoolSize: 1, PoolTimeout: 2 * time.Minute})
	only := client.Conn()
	if err := only.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { only.Close() })
	r := newRig(t, client)
	for _, step := range r.steps(question(lasting("s"), box))[:2] {
		r.checkDeadline(step)
	}
}

// checkStall checks that calls end in time while the server is frozen, and that later calls work.
func (r *rig) checkStall(server *redistest.Server) {
	r.Helper()
	r.lifecycle(lasting("s"), "before")
	server.Stop()
	for _, step := range r.steps(question(lasting("s"), box)) {
		r.checkDeadline(step)
	}
	server.Continue()
	r.lifecycle(lasting("s"), "after")
}

package goredis_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// frozenClient is a client of a server that takes connections and commands, and answers nothing.
func frozenClient(t *testing.T) *redis.Client {
	var readers sync.WaitGroup
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", ContextTimeoutEnabled: true, PoolSize: 64, // Addr is never dialled
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			readers.Go(func() { _, _ = io.Copy(io.Discard, server) })
			return client, nil
		},
	})
	t.Cleanup(func() {
		client.Close()
		readers.Wait()
	})
	return client
}

func TestCallsKeepTheirDeadlineThoughTheServerIsFrozen(t *testing.T) {
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkDeadlines(t, mode) })
		})
	}
}

// checkDeadlines checks that each call returns by the deadline of its context. Waiting has two
// seconds more.
func checkDeadlines(t *testing.T, mode goredis.AutoPipeline) {
	r := newPipeliningRig(t, frozenClient(t), mode)
	t.Cleanup(func() { r.b.Close() })
	// The waiters have to poll: a subscription waits for the server with a mutex held, and so stops
	// the bubble's clock.
	polled := struct{ backends.Backend }{r.b}
	s, err := pending.New(polled, codec.JSON[string](), pending.Policy{Name: "jobs",
		PendingTimeout: time.Hour, RunningTimeout: time.Hour, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	in, err := pending.NewInbox(s)
	if err != nil {
		t.Fatal(err)
	}
	c := question(lasting("s"), box)
	calls := append(r.steps(c),
		step{"Check", func(ctx context.Context) error { return r.b.Check(ctx) }},
		step{"Await", func(ctx context.Context) error {
			_, err := s.Await(ctx, c.ID)
			return err
		}},
		step{"AwaitPending", func(ctx context.Context) error {
			_, err := s.AwaitPending(ctx, box)
			return err
		}},
		step{"Inbox.Await", func(ctx context.Context) error {
			_, err := in.Await(ctx, box)
			return err
		}},
		step{"PopMany", func(ctx context.Context) error {
			_, err := in.PopMany(ctx, []string{box})
			return err
		}},
		step{"Diagnose", func(ctx context.Context) error {
			findings, err := goredis.Diagnose(ctx, r.client, nil)
			if err == nil && len(findings) > 0 {
				err = errors.New(findings[0].Text)
			}
			return err
		}})
	for _, call := range calls {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := call.call(ctx)
		cancel()
		took := time.Since(start)
		if took > 2500*time.Millisecond || err == nil {
			t.Errorf("%s: got %v after %v, want an error by its deadline", call.name, err, took)
		}
	}
}

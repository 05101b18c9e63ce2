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

// frozenClient is a client of a server that accepts commands and sends no replies.
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

func TestCallsKeepTheirDeadlineOnAFrozenServer(t *testing.T) {
	for name, mode := range pipelining {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkDeadlines(t, mode) })
		})
	}
}

// checkDeadlines checks that each call returns by the deadline of its context, or at most two
// seconds later.
func checkDeadlines(t *testing.T, mode goredis.AutoPipeline) {
	r := newPipeliningRig(t, frozenClient(t), mode)
	t.Cleanup(func() { r.b.Close() })
	c := question(lasting("s"), box)
	calls := append(r.steps(c), r.waits(c.ID)...)
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

// waits are calls that wait for a request or a mailbox, and calls that check the server.
func (r *rig) waits(id string) []step {
	r.Helper()
	// The waiters have to poll. A subscription waits for the server with a mutex held, which stops
	// the bubble's clock.
	polled := struct{ backends.Backend }{r.b}
	s, err := pending.New(polled, codec.JSON[string](), pending.Policy{Name: "jobs",
		PendingTimeout: time.Hour, RunningTimeout: time.Hour, Retention: time.Hour})
	if err != nil {
		r.Fatal(err)
	}
	in, err := pending.NewInbox(s)
	if err != nil {
		r.Fatal(err)
	}
	return []step{
		{"Check", r.b.Check},
		{"Await", func(ctx context.Context) error {
			_, err := s.Await(ctx, id)
			return err
		}},
		{"AwaitPending", func(ctx context.Context) error {
			_, err := s.AwaitPending(ctx, box)
			return err
		}},
		{"Inbox.Await", func(ctx context.Context) error {
			_, err := in.Await(ctx, box)
			return err
		}},
		{"PopMany", func(ctx context.Context) error {
			_, err := in.PopMany(ctx, []string{box})
			return err
		}},
		{"Diagnose", func(ctx context.Context) error {
			findings, err := goredis.Diagnose(ctx, r.client, nil)
			if err == nil && len(findings) > 0 {
				err = errors.New(findings[0].Text)
			}
			return err
		}},
	}
}

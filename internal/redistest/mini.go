package redistest

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Mini starts a miniredis and a client of it. It uses no network and lives on the test's clock, so
// in a testing/synctest bubble its TIME and the expiry of its keys run on fake time.
func Mini(t testing.TB) (*miniredis.Miniredis, *redis.Client) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	client := redis.NewClient(&redis.Options{
		Addr:                  "127.0.0.1:1", // never dialled; a name would be looked up
		ContextTimeoutEnabled: true,
		PoolSize:              1024, // who waits for a connection does so with a timer that the client shares among bubbles
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			conn, err := m.Dial()
			if err != nil {
				return nil, err
			}
			return buffer(conn), nil
		},
	})
	t.Cleanup(func() {
		client.Close()
		m.Close()
	})
	return m, client
}

// buffered is a connection in memory that takes what is written at once, as TCP does. Without a
// buffer, a client that writes many commands before it reads and a server that answers the first
// wait for each other.
type buffered struct {
	net.Conn
	mu      sync.Mutex
	changed *sync.Cond
	out     bytes.Buffer
	closed  bool
}

func buffer(conn net.Conn) *buffered {
	b := &buffered{Conn: conn}
	b.changed = sync.NewCond(&b.mu)
	go b.send()
	return b
}

// send passes on what is written, until the connection is closed.
func (b *buffered) send() {
	for {
		b.mu.Lock()
		for b.out.Len() == 0 && !b.closed {
			b.changed.Wait()
		}
		chunk := bytes.Clone(b.out.Next(b.out.Len()))
		b.mu.Unlock()
		if len(chunk) == 0 {
			return
		}
		if _, err := b.Conn.Write(chunk); err != nil {
			b.Close()
		}
	}
}

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	b.changed.Signal()
	return b.out.Write(p)
}

func (b *buffered) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.changed.Signal()
	return b.Conn.Close()
}

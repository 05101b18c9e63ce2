package redistest

import (
	"bytes"
	"context"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Mini starts a miniredis and returns a client of it. It uses no network. It uses the test's clock:
// in a synctest bubble its TIME and the expiry of its keys run on fake time. It skips the test if
// [ServersEnv] is set.
func Mini(t testing.TB) (*miniredis.Miniredis, *redis.Client) {
	t.Helper()
	if os.Getenv(ServersEnv) != "" {
		t.Skip(ServersEnv, " is set")
	}
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	client := redis.NewClient(&redis.Options{
		Addr:                  "127.0.0.1:1", // never dialled; a name would be looked up
		ContextTimeoutEnabled: true,
		// There is a free connection for each call. A call that waited would use a timer that the
		// client shares among bubbles.
		PoolSize: 1024,
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

// buffered is a connection in memory whose Write does not wait for the reader, as in TCP. Without a
// buffer there is a deadlock if the client writes many commands before it reads a reply: the server
// waits to write the first reply, and the client waits to write the next command.
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

// send forwards the buffered bytes until the connection is closed.
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

package goredis_test

import (
	"context"
	"net"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newMini starts a miniredis that lives, and whose keys expire, on the clock of the test: fake in a bubble.
func newMini(t *testing.T) (*miniredis.Miniredis, *redis.Client) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	client := redis.NewClient(&redis.Options{
		Addr:                  "127.0.0.1:1", // never dialled; a name would be looked up
		ContextTimeoutEnabled: true,
		Dialer:                func(context.Context, string, string) (net.Conn, error) { return m.Dial() },
	})
	t.Cleanup(func() {
		client.Close()
		m.Close()
	})
	return m, client
}

func newBackend(t *testing.T, client redis.UniversalClient) *goredis.Backend {
	b, err := goredis.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformanceOnMiniredis(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		_, client := newMini(t)
		return newBackend(t, client)
	}, backendtest.InBubble())
}

func TestConformanceOnRedis(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		b, err := goredis.New(client, &goredis.Options{Prefix: backends.NewID(t.Name()) + ":"})
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

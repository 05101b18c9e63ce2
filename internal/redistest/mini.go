package redistest

import (
	"context"
	"net"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Mini starts a miniredis and a client of it. It uses no network and lives on the test's clock, so in a
// testing/synctest bubble its TIME and the expiry of its keys run on fake time.
func Mini(t testing.TB) (*miniredis.Miniredis, *redis.Client) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	client := redis.NewClient(&redis.Options{
		Addr:                  "127.0.0.1:1", // never dialled; a name would be looked up
		ContextTimeoutEnabled: true,
		PoolSize:              1024, // who waits for a connection does so with a timer that the client shares among bubbles
		Dialer:                func(context.Context, string, string) (net.Conn, error) { return m.Dial() },
	})
	t.Cleanup(func() {
		client.Close()
		m.Close()
	})
	return m, client
}

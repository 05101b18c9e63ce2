// Package redistest starts redis-server processes for tests: a single server, a Cluster, or servers
// behind Sentinel. They listen on loopback and live in temporary folders. The methods of [Server]
// make faults.
package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/freeport"
)

// RequireEnv names an environment variable. If it is set, Start, StartCluster and StartSentinel
// fail the test when no redis-server is installed. Otherwise they skip it.
const RequireEnv = "PENDINGQ_REQUIRE_REDIS"

// URLEnv names the environment variable with the URL of a server of the user. If it is set,
// [Client] returns a client of that server and starts none.
const URLEnv = "REDIS_TEST_URL"

// ServersEnv names an environment variable. If it is set, [Mini] skips the test: what runs on
// miniredis is the same for every server.
const ServersEnv = "PENDINGQ_ONLY_SERVERS"

// attempts is how often a start is tried. Another process may take a free port before the server
// does, but hardly three times.
const attempts = 3

// Start starts a server that persists nothing. It ends with the test. Config is appended to its
// command line. Without a redis-server on PATH it skips the test, or fails it: see [RequireEnv].
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	path := executable(t)
	for attempt := 1; ; attempt++ {
		s, err := start(t, path, config...)
		if err == nil {
			return s
		}
		if attempt == attempts {
			t.Fatalf("start redis-server: %v", err)
		}
	}
}

// Client returns a client of a server that others may use too: the server of [URLEnv], or a new
// server that persists nothing. The client is closed with the test. A test may only use keys and
// channels with a unique prefix. It must not change the server in any other way.
func Client(t testing.TB) *redis.Client {
	t.Helper()
	url := os.Getenv(URLEnv)
	if url == "" {
		return Start(t).Client(t)
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatalf("%s is not a Redis URL", URLEnv) // the error may quote its password
	}
	opts.ContextTimeoutEnabled, opts.PoolSize = true, poolSize
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

// poolSize is enough connections for all goroutines of a test.
const poolSize = 64

// Need skips the test, or fails it, if no redis-server is installed: see [RequireEnv].
func Need(t testing.TB) {
	t.Helper()
	executable(t)
}

// start starts one server on a free port.
func start(t testing.TB, path string, config ...string) (*Server, error) {
	ports, err := freeport.Find(1)
	if err != nil {
		return nil, err
	}
	dir := t.TempDir()
	return startProcess(t, dir, ports[0], path, append(settings(dir, ports[0]), config...)...)
}

// settings returns the part of the command line that all servers share.
func settings(dir string, port int) []string {
	return []string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "no"}
}

// executable returns the path of redis-server, or skips the test.
func executable(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	if os.Getenv(RequireEnv) != "" {
		t.Fatalf("%s is set, but there is no redis-server: %v", RequireEnv, err)
	}
	t.Skipf("no redis-server: %v", err)
	return ""
}

// Client returns a client of the server. It is closed with the test.
func (s *Server) Client(t testing.TB) *redis.Client {
	return s.ClientWith(t, redis.Options{PoolSize: poolSize})
}

// ClientWith returns a client of the server with further options. It is closed with the test.
func (s *Server) ClientWith(t testing.TB, opts redis.Options) *redis.Client {
	if opts.Addr == "" {
		opts.Addr = s.Addr
	}
	opts.ContextTimeoutEnabled = true
	client := redis.NewClient(&opts)
	t.Cleanup(func() { client.Close() })
	return client
}

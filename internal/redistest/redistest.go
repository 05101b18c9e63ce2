// Package redistest starts real redis-server processes for tests: alone, as a Cluster or behind
// Sentinel, on loopback, in temporary folders, ended by their own pid. What they need to survive
// faults, it does to them: see [Server].
package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RequireEnv names the environment variable that, set to anything, makes Start, StartCluster and
// StartSentinel fail where they would skip because no redis-server is installed.
const RequireEnv = "PENDINGQ_REQUIRE_REDIS"

// URLEnv names the environment variable that holds the URL of a server of the user. [Client] then
// returns a client of that server instead of starting one.
const URLEnv = "REDIS_TEST_URL"

// attempts is how often a server is started anew: another process may take a free port before the
// server does, but hardly three times.
const attempts = 3

// Start starts a server that persists nothing, with further configuration as words of its command
// line, and ends it with the test. Without a redis-server on PATH it skips the test, or fails it:
// see [RequireEnv].
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	path := executable(t)
	for attempt := 1; ; attempt++ {
		s, err := start(t, path, config...)
		if err == nil {
			return s
		}
		if attempt == attempts {
			t.Fatalf("starting redis-server: %v", err)
		}
	}
}

// Client returns a client of a server that is not the test's own: the user's, see [URLEnv], or a
// new one that persists nothing. It is closed with the test. A test may use no keys and channels
// but those of a prefix that no other has. It must not change the server in any other way, nor
// depend on who else uses it.
func Client(t testing.TB) *redis.Client {
	t.Helper()
	url := os.Getenv(URLEnv)
	if url == "" {
		return Start(t).Client(t)
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatalf("%s does not parse as a Redis URL", URLEnv) // the error may hold its password
	}
	opts.ContextTimeoutEnabled, opts.PoolSize = true, poolSize
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

// poolSize lets the goroutines of a test call at once.
const poolSize = 64

// Need skips the test, or fails it, where Start would because no redis-server is installed.
func Need(t testing.TB) {
	t.Helper()
	executable(t)
}

// start starts one server on a free port.
func start(t testing.TB, path string, config ...string) (*Server, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	dir := t.TempDir()
	return startProcess(t, dir, ports[0], path, append(settings(dir, ports[0]), config...)...)
}

// settings are what every server has on its command line.
func settings(dir string, port int) []string {
	return []string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"}
}

// executable returns where redis-server is, or skips the test.
func executable(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	if os.Getenv(RequireEnv) != "" {
		t.Fatalf("%s is set, but: %v", RequireEnv, err)
	}
	t.Skipf("no real Redis: %v", err)
	return ""
}

// Client returns a client of the server, closed with the test.
func (s *Server) Client(t testing.TB) *redis.Client {
	return s.ClientWith(t, redis.Options{PoolSize: poolSize})
}

// ClientWith returns a client of the server with further options, closed with the test.
func (s *Server) ClientWith(t testing.TB, opts redis.Options) *redis.Client {
	if opts.Addr == "" {
		opts.Addr = s.Addr
	}
	opts.ContextTimeoutEnabled = true
	client := redis.NewClient(&opts)
	t.Cleanup(func() { client.Close() })
	return client
}

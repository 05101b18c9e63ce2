package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/freeport"
)

// MasterName is the name of the master for the sentinels.
const MasterName = "pendingq-test"

// Sentinel has a master with two replicas and three sentinels that watch them. After a fail-over
// another server is the master.
type Sentinel struct {
	Servers   []*Server // the first is the master at the start
	Sentinels []*Server
}

// StartSentinel starts a master, its replicas and sentinels. They persist nothing and fail over
// within a few seconds. All end with the test. Without a redis-server on PATH it skips the test, or
// fails it: see [RequireEnv].
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	path := executable(t)
	for attempt := 1; ; attempt++ {
		s, err := startSentinel(t, path)
		if err == nil {
			return s
		}
		for _, server := range append(s.Servers, s.Sentinels...) {
			server.end()
		}
		if attempt == attempts {
			t.Fatalf("start servers behind Sentinel: %v", err)
		}
	}
}

func startSentinel(t testing.TB, path string) (*Sentinel, error) {
	s := &Sentinel{}
	for i := range 3 {
		config := []string{"--repl-diskless-sync-delay", "0"}
		if i > 0 {
			host, port, _ := net.SplitHostPort(s.Servers[0].Addr)
			config = append(config, "--replicaof", host+" "+port)
		}
		server, err := start(t, path, config...)
		if err != nil {
			return s, err
		}
		s.Servers = append(s.Servers, server)
	}
	for range 3 {
		sentinel, err := s.watch(t, path)
		if err != nil {
			return s, err
		}
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	return s, s.awaitComplete(ctx)
}

// watch starts a sentinel.
func (s *Sentinel) watch(t testing.TB, path string) (*Server, error) {
	ports, err := freeport.Find(1)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.Servers[0].Addr)
	if err != nil {
		return nil, err
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.conf") // a sentinel requires a file that it can write
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %q\nsentinel monitor %[3]s %s %s 2\n"+
		"sentinel down-after-milliseconds %[3]s 500\nsentinel failover-timeout %[3]s 4000\n",
		ports[0], dir, MasterName, host, port)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return startProcess(t, dir, ports[0], path, file, "--sentinel")
}

// awaitComplete waits until the replicas are in sync and each sentinel knows all servers.
func (s *Sentinel) awaitComplete(ctx context.Context) error {
	client := s.Servers[0].plainClient()
	defer client.Close()
	if err := poll(ctx, func() error { return checkInSync(ctx, client, 2) }); err != nil {
		return err
	}
	for _, sentinel := range s.Sentinels {
		if err := poll(ctx, func() error { return sentinel.checkWatching(ctx) }); err != nil {
			return fmt.Errorf("sentinel %s: %w", sentinel.Addr, err)
		}
	}
	return nil
}

func (s *Server) checkWatching(ctx context.Context) error {
	opts := &redis.Options{Addr: s.Addr, MaxRetries: -1, ContextTimeoutEnabled: true}
	client := redis.NewSentinelClient(opts)
	defer client.Close()
	view, err := client.Master(ctx, MasterName).Result()
	if err != nil {
		return err
	}
	flags, replicas, others := view["flags"], view["num-slaves"], view["num-other-sentinels"]
	if flags != "master" || replicas != "2" || others != "2" {
		return fmt.Errorf("sees %s with %s replicas and %s other sentinels",
			flags, replicas, others)
	}
	return nil
}

// Epoch returns a number that grows with every fail-over, and is 0 before the first.
func (s *Sentinel) Epoch(t testing.TB) int {
	t.Helper()
	opts := &redis.Options{Addr: s.Sentinels[0].Addr, ContextTimeoutEnabled: true}
	client := redis.NewSentinelClient(opts)
	defer client.Close()
	view, err := client.Master(t.Context(), MasterName).Result()
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := strconv.Atoi(view["config-epoch"])
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

// Client returns a client that asks the sentinels for the master. It is closed with the test.
func (s *Sentinel) Client(t testing.TB) *redis.Client {
	opts := &redis.FailoverOptions{MasterName: MasterName, ContextTimeoutEnabled: true,
		PoolSize: poolSize}
	for _, sentinel := range s.Sentinels {
		opts.SentinelAddrs = append(opts.SentinelAddrs, sentinel.Addr)
	}
	client := redis.NewFailoverClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

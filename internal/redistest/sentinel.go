package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
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

	mu          sync.Mutex
	connections map[string]int // of clients, by the server's address
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
	s := &Sentinel{connections: map[string]int{}}
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

// Epochs returns a number that grows with every fail-over, and is 0 before the first: the lowest
// and the highest that a sentinel knows.
func (s *Sentinel) Epochs(t testing.TB) (lowest, highest int) {
	t.Helper()
	var epochs []int
	for _, sentinel := range s.Sentinels {
		opts := &redis.Options{Addr: sentinel.Addr, ContextTimeoutEnabled: true}
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
		epochs = append(epochs, epoch)
	}
	return slices.Min(epochs), slices.Max(epochs)
}

// Client returns a client that asks the sentinels for the master. It is closed with the test.
func (s *Sentinel) Client(t testing.TB) *redis.Client {
	opts := &redis.FailoverOptions{MasterName: MasterName, ContextTimeoutEnabled: true,
		PoolSize: poolSize, Dialer: s.dial}
	for _, sentinel := range s.Sentinels {
		opts.SentinelAddrs = append(opts.SentinelAddrs, sentinel.Addr)
	}
	client := redis.NewFailoverClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

// dial counts a connection from the beginning of its dial until it is closed.
func (s *Sentinel) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.count(addr, 1)
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		s.count(addr, -1)
		return nil, err
	}
	over := sync.OnceFunc(func() { s.count(addr, -1) })
	return &counted{conn.(*net.TCPConn), over}, nil
}

func (s *Sentinel) count(addr string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections[addr] += n
}

// Connected reports whether a client of s is connected to a server, or tries to connect.
func (s *Sentinel) Connected(server *Server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections[server.Addr] > 0
}

// counted is a connection that is counted.
type counted struct {
	*net.TCPConn
	over func() // may be called again
}

func (c *counted) Close() error {
	c.over()
	return c.TCPConn.Close()
}

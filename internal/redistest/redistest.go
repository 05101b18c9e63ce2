// Package redistest starts real redis-server processes for tests: on loopback, on a free port, in a temporary
// folder, ended by their own pid.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RequireEnv names the environment variable that, set to anything, makes Start fail where it would skip because
// no redis-server is installed.
const RequireEnv = "PENDINGQ_REQUIRE_REDIS"

// Server is a running redis-server.
type Server struct {
	Addr string // host:port
	Dir  string // its working directory
}

// Start starts a server that persists nothing, with further configuration as words of its command line, and
// ends it with the test. Without a redis-server on PATH it skips the test, or fails it: see [RequireEnv].
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv(RequireEnv) != "" {
			t.Fatalf("%s is set, but: %v", RequireEnv, err)
		}
		t.Skipf("no real Redis: %v", err)
	}
	for attempt := 1; ; attempt++ {
		s, err := start(t, path, config)
		if err == nil {
			return s
		}
		if attempt == 3 { // another process may have taken the port in between, but hardly three times
			t.Fatalf("starting redis-server: %v", err)
		}
	}
}

func start(t testing.TB, path string, config []string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: fmt.Sprintf("127.0.0.1:%d", port), Dir: t.TempDir()}
	var output bytes.Buffer
	cmd := exec.Command(path, append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", s.Dir,
		"--save", "", "--appendonly", "no"}, config...)...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	end := func() {
		_ = cmd.Process.Kill()
		<-exited
	}
	if err := s.awaitReady(exited); err != nil {
		end()
		return nil, fmt.Errorf("%w\n%s", err, output.String())
	}
	t.Cleanup(end)
	return s, nil
}

// awaitReady polls until the server answers.
func (s *Server) awaitReady(exited <-chan struct{}) error {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		err := client.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("exited before it answered: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("did not answer: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Client returns a client of the server, closed with the test.
func (s *Server) Client(t testing.TB) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true, PoolSize: 64})
	t.Cleanup(func() { client.Close() })
	return client
}

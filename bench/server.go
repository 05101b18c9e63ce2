package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server on a free loopback port, without persistence.
type Server struct {
	Addr string
	Dir  string // a temporary folder, which it runs in
	Pid  int

	cmd  *exec.Cmd
	kill context.CancelFunc
}

// StartServer starts a redis-server and waits until it answers. The server dies when ctx ends.
// Under is a command that runs it, such as valgrind with its flags; usually there is none.
func StartServer(ctx context.Context, under ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "pendingq-bench-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	line := append(under, "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "no")
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", port), Dir: dir}
	ctx, s.kill = context.WithCancel(ctx)
	s.cmd = exec.CommandContext(ctx, line[0], line[1:]...)
	s.cmd.Dir = dir
	if err := s.cmd.Start(); err != nil {
		s.kill()
		err = fmt.Errorf("start %s (is it installed?): %w", line[0], err)
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.Pid = s.cmd.Process.Pid
	if err := awaitServer(ctx, s.Addr); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop kills the server and removes its folder.
func (s *Server) Stop() {
	s.kill()
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.Dir)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// awaitServer waits until a server listens.
func awaitServer(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis-server does not listen: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// clientName is the name that a server has for the connections of NewClient.
const clientName = "pendingq-bench"

// NewClient returns a client with a connection for each caller.
func NewClient(addr string, callers int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, ClientName: clientName,
		ContextTimeoutEnabled: true, PoolSize: max(16, callers)})
}

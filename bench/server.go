package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/freeport"
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
	ports, err := freeport.Find(1)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	line := append(under, "redis-server", "--port", fmt.Sprint(ports[0]), "--bind", "127.0.0.1",
		"--dir", dir, "--save", "", "--appendonly", "no")
	s := &Server{Addr: freeport.Address(ports[0]), Dir: dir}
	ctx, s.kill = context.WithCancel(ctx)
	s.cmd = exec.CommandContext(ctx, line[0], line[1:]...)
	s.cmd.Dir = dir
	if err := s.cmd.Start(); err != nil {
		s.kill()
		err = fmt.Errorf("start %s (is it installed?): %w", line[0], err)
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s.Pid = s.cmd.Process.Pid
	if err := s.awaitServer(ctx); err != nil {
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

// awaitServer waits until the server answers. Another process may have its port.
func (s *Server) awaitServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := NewClient(s.Addr, 1)
	defer client.Close()
	own := fmt.Sprintf("process_id:%d\r\n", s.Pid)
	for {
		info, err := client.Info(ctx, "server").Result()
		if strings.Contains(info, own) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis-server does not answer: %w", cmp.Or(err, ctx.Err()))
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

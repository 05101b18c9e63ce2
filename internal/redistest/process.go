package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/freeport"
)

// Server is a server process of a test. It is killed at the end of the test.
type Server struct {
	Addr string // host:port
	Dir  string // its working directory, which also has its log

	t      testing.TB
	path   string
	args   []string
	cmd    *exec.Cmd
	exited chan struct{}
}

// startProcess starts a server and waits until it answers.
func startProcess(
	t testing.TB, dir string, port int, path string, args ...string) (*Server, error) {
	s := &Server{Addr: freeport.Address(port), Dir: dir, t: t, path: path, args: args}
	t.Cleanup(s.cleanUp)
	return s, s.launch()
}

// launch starts the process. On an error it leaves no process behind.
func (s *Server) launch() error {
	log, err := os.OpenFile(s.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.path, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	if err := s.awaitReady(); err != nil {
		s.end()
		return fmt.Errorf("%w\n%s", err, s.Log())
	}
	return nil
}

// awaitReady polls until the server answers. A server does not answer while it loads its data.
func (s *Server) awaitReady() error {
	client := s.plainClient()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return poll(ctx, func() error {
		select {
		case <-s.exited:
			cancel()
			return errors.New("exited before it answered")
		default:
			return client.Ping(ctx).Err()
		}
	})
}

// plainClient returns a client for the commands of this package.
func (s *Server) plainClient() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, PoolSize: 1,
		ContextTimeoutEnabled: true})
}

// Kill ends the process as kill -9 does and waits for its end.
func (s *Server) Kill() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
	<-s.exited
}

// Stop freezes the process. It keeps its connections and answers nothing.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Continue thaws a process that Stop has frozen.
func (s *Server) Continue() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

// Restart kills the server if it runs, starts it again on its port and in its folder, and waits
// until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.end()
	if err := s.launch(); err != nil {
		s.t.Fatalf("restart the server on %s: %v", s.Addr, err)
	}
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("send %v to the server on %s: %v", sig, s.Addr, err)
	}
}

func (s *Server) end() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Log returns the content of the server's log.
func (s *Server) Log() string {
	log, err := os.ReadFile(s.logName())
	if err != nil {
		return err.Error()
	}
	return string(log)
}

func (s *Server) logName() string { return filepath.Join(s.Dir, "server.log") }

// poll repeats condition until it returns no error. If ctx ends first, poll returns the last error.
func poll(ctx context.Context, condition func() error) error {
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// cleanUp ends the server. Then it waits until closed clients no longer dial it, which they may do
// for up to a second after Close.
func (s *Server) cleanUp() {
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_ = poll(ctx, checkNotDialing) // goleak reports clients that still dial
}

func checkNotDialing() error {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if bytes.Contains(stacks, []byte("(*ConnPool).tryDial")) {
		return errors.New("a closed client still dials")
	}
	return nil
}

package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a server process of a test. It is killed at the end of the test, whatever has been done to it.
type Server struct {
	Addr string // host:port
	Dir  string // its working directory, where its log is, too

	t      testing.TB
	path   string
	args   []string
	cmd    *exec.Cmd
	exited chan struct{}
}

// startProcess starts a server and waits until it answers.
func startProcess(t testing.TB, dir string, port int, path string, args ...string) (*Server, error) {
	s := &Server{Addr: address(port), Dir: dir, t: t, path: path, args: args}
	t.Cleanup(s.cleanUp)
	return s, s.launch()
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// launch starts the process. On an error none is left.
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

// awaitReady polls until the server answers, which it does not while it loads its data.
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

// plainClient is a client for this package's own commands.
func (s *Server) plainClient() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, ContextTimeoutEnabled: true, PoolSize: 1})
}

// Kill ends the process as kill -9 does and waits until it is gone.
func (s *Server) Kill() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
	<-s.exited
}

// Stop freezes the process: it keeps its connections and answers nothing.
func (s *Server) Stop() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
}

// Continue thaws a process that Stop has frozen.
func (s *Server) Continue() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

// Restart starts the server again, on its port and in its folder, and waits until it answers. A process that
// still runs is killed first.
func (s *Server) Restart() {
	s.t.Helper()
	s.end()
	if err := s.launch(); err != nil {
		s.t.Fatalf("restarting %s: %v", s.Addr, err)
	}
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("sending %v to the server on %s: %v", sig, s.Addr, err)
	}
}

func (s *Server) end() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Log returns what the server has written to its log so far.
func (s *Server) Log() string {
	log, err := os.ReadFile(s.logName())
	if err != nil {
		return err.Error()
	}
	return string(log)
}

func (s *Server) logName() string { return filepath.Join(s.Dir, "server.log") }

// poll repeats condition until it has no error, and returns the last one when ctx ends.
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

// cleanUp ends the server, and waits until the clients that the test has closed no longer try to reach it, which
// outlives their Close by up to a second.
func (s *Server) cleanUp() {
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_ = poll(ctx, checkNotDialing) // a check for leaks reports those that go on
}

func checkNotDialing() error {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if bytes.Contains(stacks, []byte("(*ConnPool).tryDial")) {
		return errors.New("a closed client still dials")
	}
	return nil
}

// Where ports are taken from: below those that systems hand out by themselves, and so that a Cluster's bus, on a
// port 10,000 higher, is there too.
const (
	lowestPort  = 10_000
	highestPort = 21_999
	busOffset   = 10_000
)

// freePorts returns n different ports that nothing listens on, nor on their bus ports.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		for _, p := range []int{port, port + busOffset} {
			l, err := net.Listen("tcp", address(p))
			if err != nil {
				port = 0
				break
			}
			defer l.Close() // held until all are found, so that none is found twice
		}
		if port != 0 {
			ports = append(ports, port)
		}
	}
	return nil, fmt.Errorf("found only %d free ports of %d", len(ports), n)
}

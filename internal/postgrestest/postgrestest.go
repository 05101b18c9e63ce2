// Package postgrestest starts PostgreSQL for tests and benchmarks: clusters and their standbys, on
// loopback, each in a temporary folder of its own. They belong to a user that is not root, since
// PostgreSQL refuses root. The package runs the installed programs, Debian's for example.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pendingq/pendingq/internal/freeport"
)

// RequireEnv names the environment variable that, set to anything, makes tests fail that would be
// skipped because PostgreSQL or pgbouncer is not installed.
const RequireEnv = "PENDINGQ_REQUIRE_POSTGRES"

// ErrNotInstalled says that a program is not on this machine.
var ErrNotInstalled = errors.New("not installed")

// Server is a process: a cluster, a standby, or another server that speaks the same protocol.
type Server struct {
	URL string // of its database, as a superuser
	Dir string // of its files

	path   string
	args   []string
	cmd    *exec.Cmd
	exited chan struct{}
}

// Find returns where a program is: in one of some folders, which may be patterns, or on PATH. The
// error is ErrNotInstalled.
func Find(name string, folders ...string) (string, error) {
	for _, pattern := range folders {
		found, _ := filepath.Glob(filepath.Join(pattern, name))
		if len(found) > 0 {
			return slices.Max(found), nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s: %w; install PostgreSQL and pgbouncer", name, ErrNotInstalled)
}

// program returns where a program of PostgreSQL is. Debian's are not on PATH, except for scripts in
// place of some.
func program(name string) (string, error) { return Find(name, "/usr/lib/postgresql/*/bin") }

// Need fails the test for an error. It skips the test if a program is not installed, unless
// RequireEnv is set.
func Need(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrNotInstalled) && os.Getenv(RequireEnv) == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// Start makes a new cluster and starts it. Settings are "name=value" each. The cluster is removed
// with the test.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := New(settings...)
	Need(t, err)
	t.Cleanup(s.Remove)
	return s
}

// New makes a new cluster and starts it. Call Remove in the end.
func New(settings ...string) (*Server, error) {
	return start(func(dir string) error {
		return run(dir, "initdb", "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust",
			"-E", "UTF8", "--locale=C", "--no-sync")
	}, slices.Concat([]string{"fsync=off", "shared_buffers=32MB"}, settings))
}

// NewStandby makes a standby of the cluster and starts it. The standby streams from the cluster
// under a name. Call Remove in the end.
func (s *Server) NewStandby(name string, settings ...string) (*Server, error) {
	return start(func(dir string) error {
		return run(dir, "pg_basebackup", "-D", filepath.Join(dir, "data"), "-R", "--no-sync",
			"-c", "fast", "-d", s.URL+"?application_name="+name)
	}, slices.Concat([]string{"fsync=off", "shared_buffers=32MB"}, settings))
}

// Promote makes a standby a primary, and waits until it is.
func (s *Server) Promote() error {
	return run(s.Dir, "pg_ctl", "promote", "-w", "-D", filepath.Join(s.Dir, "data"))
}

// start makes a data folder in a new folder, and starts a server on it.
func start(makeData func(dir string) error, settings []string) (*Server, error) {
	path, err := program("postgres")
	if err != nil {
		return nil, err
	}
	dir, err := Folder()
	if err != nil {
		return nil, err
	}
	if err := makeData(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &Server{Dir: dir, path: path}
	for range 3 { // another process may take a free port first
		if err = s.startOn(dir, settings); err == nil {
			return s, nil
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	return nil, errors.Join(fmt.Errorf("%w\n%s", err, text), os.RemoveAll(dir))
}

// startOn starts the cluster in a folder on a free port, and waits until it answers.
func (s *Server) startOn(dir string, settings []string) error {
	ports, err := freeport.Find(1)
	if err != nil {
		return err
	}
	s.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", ports[0])
	s.args = []string{"-D", filepath.Join(dir, "data"), "-p", strconv.Itoa(ports[0]), "-k", dir}
	own := []string{"listen_addresses=127.0.0.1", "max_connections=300"}
	for _, setting := range slices.Concat(own, settings) {
		s.args = append(s.args, "-c", setting)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.once(ctx)
}

// run runs a program of PostgreSQL to its end.
func run(dir, name string, args ...string) error {
	path, err := program(name)
	if err != nil {
		return err
	}
	as, err := notRoot()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = dir, as
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// Folder makes a new folder of the user that servers run as. Its path is short: it holds a socket.
func Folder() (string, error) {
	as, err := notRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "pq")
	if err == nil && as != nil {
		err = os.Chown(dir, int(as.Credential.Uid), int(as.Credential.Gid))
	}
	return dir, err
}

// notRoot makes a process run as another user if this one is root, and is nil otherwise.
func notRoot() (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	other, err := user.Lookup("postgres")
	if err != nil {
		other, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no other user: %w", err)
	}
	uid, _ := strconv.ParseUint(other.Uid, 10, 32)
	gid, _ := strconv.ParseUint(other.Gid, 10, 32)
	as := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return &syscall.SysProcAttr{Credential: as}, nil
}

var errExited = errors.New("it has exited")

// Launch starts a server with its files in a folder, and waits until it answers at a URL. On an
// error it removes the folder.
func Launch(url, dir, path string, args ...string) (*Server, error) {
	s := &Server{URL: url, Dir: dir, path: path, args: args}
	if err := s.Relaunch(); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, text), os.RemoveAll(dir))
	}
	return s, nil
}

// Relaunch starts the server again after Kill, and waits until it answers. A cluster that was
// killed exits at once until the last of its old backends has noticed.
func (s *Server) Relaunch() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if err := s.once(ctx); !errors.Is(err, errExited) || ctx.Err() != nil {
			return err
		}
	}
}

// once starts the server, and waits until it answers, exits, or ctx ends.
func (s *Server) once(ctx context.Context) error {
	ready, err := program("pg_isready")
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if err := s.answers(ctx, ready); err != nil {
		s.end()
		return fmt.Errorf("%s does not answer: %w", s.path, err)
	}
	return nil
}

func (s *Server) start() error {
	as, err := notRoot()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, exited := exec.Command(s.path, s.args...), make(chan struct{})
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = s.Dir, as, log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	s.cmd, s.exited = cmd, exited
	return nil
}

// answers waits until the server answers.
func (s *Server) answers(ctx context.Context, ready string) error {
	for {
		err := exec.CommandContext(ctx, ready, "-q", "-d", s.URL).Run()
		select {
		case <-s.exited: // and perhaps another server has answered
			return errExited
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return errExited
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// PID returns the id of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the process as kill -9 does, and waits until it is gone. Backends of a cluster see that
// at their next command or soon after.
func (s *Server) Kill() {
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Remove ends the process and removes its folder.
func (s *Server) Remove() {
	s.end()
	_ = os.RemoveAll(s.Dir)
}

func (s *Server) end() {
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // at once, backends of a cluster included
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		s.Kill()
	}
}

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// requireEnv names the environment variable that, set to anything, makes tests fail that would be
// skipped because PostgreSQL or pgbouncer is not installed.
const requireEnv = "PENDINGQ_REQUIRE_POSTGRES"

// server is a process of a test: a PostgreSQL cluster or a pgbouncer, on loopback, in a folder of
// its own. It belongs to a user that is not root: PostgreSQL refuses root.
type server struct {
	url    string // of its database, as a superuser
	dir    string
	path   string
	args   []string
	cmd    *exec.Cmd
	exited chan struct{}
}

// find returns where a program is, or skips the test.
func find(t testing.TB, name string, folders ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range folders {
		found, _ := filepath.Glob(filepath.Join(pattern, name))
		if len(found) > 0 {
			return slices.Max(found)
		}
	}
	if os.Getenv(requireEnv) != "" {
		t.Fatalf("%s is set, but there is no %s", requireEnv, name)
	}
	t.Skipf("no %s: install PostgreSQL and pgbouncer, Debian's for example", name)
	return ""
}

const serverFolders = "/usr/lib/postgresql/*/bin" // Debian's are not on PATH

// startServer makes a new cluster with further settings, "name=value" each, and starts it.
func startServer(t testing.TB, settings ...string) *server {
	t.Helper()
	s := newServer(t, settings...)
	t.Cleanup(func() { s.remove() })
	return s
}

func newServer(t testing.TB, settings ...string) *server {
	t.Helper()
	initdb := find(t, "initdb", serverFolders)
	s := &server{dir: privateFolder(t), path: find(t, "postgres", serverFolders)}
	data := filepath.Join(s.dir, "data")
	init := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C", "--no-sync")
	init.Dir, init.SysProcAttr = s.dir, notRoot(t)
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port := freePort(t)
	s.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", port)
	s.args = []string{"-D", data, "-p", strconv.Itoa(port), "-k", s.dir}
	for _, setting := range slices.Concat([]string{"listen_addresses=127.0.0.1", "max_connections=300",
		"fsync=off", "shared_buffers=32MB"}, settings) {
		s.args = append(s.args, "-c", setting)
	}
	s.launch(t)
	return s
}

// privateFolder is a new folder of the user that servers run as. Its path is short: it holds a
// socket.
func privateFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pq")
	if err != nil {
		t.Fatal(err)
	}
	if as := notRoot(t); as != nil {
		if err := os.Chown(dir, int(as.Credential.Uid), int(as.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// notRoot makes a process run as another user if this one is root, and nil otherwise.
func notRoot(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	other, err := user.Lookup("postgres")
	if err != nil {
		other, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatalf("PostgreSQL does not run as root, and there is no other user: %v", err)
	}
	uid, _ := strconv.ParseUint(other.Uid, 10, 32)
	gid, _ := strconv.ParseUint(other.Gid, 10, 32)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// launch starts the process and waits until it answers. A cluster that was killed exits at once until
// the last of its old backends has noticed.
func (s *server) launch(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		s.start(t)
		err := s.answers(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.remove()
			t.Fatalf("%s does not answer: %v\n%s", s.path, err, text)
		}
	}
}

func (s *server) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd, exited := exec.Command(s.path, s.args...), make(chan struct{})
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = s.dir, notRoot(t), log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	s.cmd, s.exited = cmd, exited
}

// answers waits until the server answers.
func (s *server) answers(ctx context.Context) error {
	for {
		conn, err := pgx.Connect(ctx, s.url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return errors.New("it has exited")
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill ends the process as kill -9 does, and waits until it is gone. Backends of a cluster see that
// at their next command or soon after.
func (s *server) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// remove ends the process and removes its folder.
func (s *server) remove() {
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // at once, backends of a cluster included
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		s.kill()
	}
	_ = os.RemoveAll(s.dir)
}

// pool is a pool of connections to the server, closed with the test. Change may be nil.
func (s *server) pool(t testing.TB, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	pool, err := openPool(s.url, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func openPool(url string, change func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	conf, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	conf.MaxConns = 32
	if change != nil {
		change(conf)
	}
	return pgxpool.NewWithConfig(context.Background(), conf)
}

//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startPostgres starts a PostgreSQL server on loopback and returns the URL of its database. It
// skips the test if PostgreSQL is not installed, or fails it if PENDINGQ_REQUIRE_POSTGRES is set.
func startPostgres(t *testing.T) string {
	t.Helper()
	var programs []string
	for _, name := range []string{"initdb", "postgres"} {
		path, err := exec.LookPath(name)
		if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); err != nil && len(found) > 0 {
			path = found[len(found)-1]
		}
		if path == "" && os.Getenv("PENDINGQ_REQUIRE_POSTGRES") == "" {
			t.Skip("PostgreSQL is not installed")
		}
		programs = append(programs, path)
	}
	dir, err := os.MkdirTemp("", "pq") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := ordinaryUser(t, dir)
	data := filepath.Join(dir, "data")
	setUp := exec.Command(programs[0], "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
	setUp.Dir, setUp.SysProcAttr = dir, attr
	if out, err := setUp.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	server := exec.Command(programs[1], "-D", data, "-k", dir, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	server.Dir, server.SysProcAttr = dir, attr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		_ = server.Wait()
	})
	url := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", port)
	awaitPostgres(t, url)
	return url
}

// ordinaryUser gives the folder to a user that is not root, and makes a process run as that user:
// PostgreSQL refuses root.
func ordinaryUser(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	other, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(other.Uid, 10, 32)
	gid, _ := strconv.ParseUint(other.Gid, 10, 32)
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func awaitPostgres(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func TestNodesShareAPostgreSQLDatabase(t *testing.T) {
	o := someOptions(t, "")
	o.backend = startPostgres(t)
	importAcrossTwoNodes(t, o)
	n := startNode(t, o) // over a schema that is there
	if status, text := n.get(n.url + "/readyz"); status != http.StatusOK {
		t.Errorf("got %d %s", status, text)
	}
}

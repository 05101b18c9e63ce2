package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/internal/freeport"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tokens = `
people: [{user: ada, token: the-token-of-ada, runtimes: {laptop: member}}]
daemons: [{runtime: laptop, token: the-token-of-the-laptop}]
`

// system is a server and a device, as programs, and a front end. The server can be killed.
type system struct {
	*testing.T
	dir, redis, addr string
	server           *exec.Cmd
	backups          *pending.PendingStore[Backup]
}

func newSystem(t *testing.T) *system {
	t.Helper()
	redis := redistest.Start(t)
	ports, err := freeport.Find(1)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{T: t, dir: t.TempDir(), redis: "redis://" + redis.Addr,
		addr: freeport.Address(ports[0])}
	if err := os.WriteFile(filepath.Join(s.dir, "tokens.yaml"), []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server", "device"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", s.dir, "../"+name)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	s.serve()
	t.Cleanup(func() { s.stop(s.server, syscall.SIGTERM) })
	device := s.start("device", "-server", s.url(), "-id", "laptop")
	t.Cleanup(func() { s.stop(device, syscall.SIGTERM) })
	client, err := remote.New(s.url(), &remote.Options{Token: "the-token-of-ada",
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.backups, err = pending.New(client, codec.JSON[Backup](), pending.Policy{Name: "backup",
		PendingTimeout: time.Minute, RunningTimeout: time.Minute, Retention: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *system) url() string { return "http://" + s.addr + "/pending" }

// start starts one of the programs.
func (s *system) start(name string, args ...string) *exec.Cmd {
	s.Helper()
	cmd := exec.Command(filepath.Join(s.dir, name), args...)
	cmd.Env = append(os.Environ(), "PENDINGQ_TOKEN=the-token-of-the-laptop")
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	return cmd
}

// stop ends a program with a signal and waits for its end.
func (s *system) stop(cmd *exec.Cmd, how syscall.Signal) {
	s.Helper()
	if err := cmd.Process.Signal(how); err != nil {
		s.Error(err)
	}
	if err := cmd.Wait(); err != nil && how == syscall.SIGTERM {
		s.Errorf("%s: %v", cmd.Path, err)
	}
}

// serve starts the server, and waits until it answers.
func (s *system) serve() {
	s.Helper()
	s.server = s.start("server", "-listen", s.addr, "-backend", s.redis,
		"-tokens", filepath.Join(s.dir, "tokens.yaml"), "-skills", filepath.Join(s.dir, "skills"))
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	for {
		r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.addr+"/healthz", nil)
		if resp, err := transport.RoundTrip(r); err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			s.Fatal("the server does not answer")
		}
	}
}

// ask asks for a backup of so many files, calls progress once some are done, and returns the end.
func (s *system) ask(files int, progress func(*pending.Request[Backup])) *pending.Request[Backup] {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*time.Minute)
	defer cancel()
	last, err := s.backups.Create(ctx, "laptop", Backup{Files: files})
	if err != nil {
		s.Fatal(err)
	}
	for r, err := range s.backups.Watch(ctx, last.ID) {
		if err != nil {
			s.Fatal(err)
		}
		if last = r; r.Payload.Done > 0 && !r.Status.Ended() && progress != nil {
			progress(r)
			progress = nil
		}
	}
	if progress != nil {
		s.Error("no progress was seen")
	}
	return last
}

func TestABackupSurvivesAServerThatIsKilled(t *testing.T) {
	s := newSystem(t)
	done := s.ask(40, func(*pending.Request[Backup]) {
		s.stop(s.server, syscall.SIGKILL)
		s.serve()
	})
	if done.Status != pending.StatusCompleted || done.Payload.Done != 40 || done.Attempt != 1 {
		t.Errorf("got %s, %+v at attempt %d", done.Status, done.Payload, done.Attempt)
	}
	cancelled := s.ask(100_000, func(r *pending.Request[Backup]) {
		if err := s.backups.Cancel(t.Context(), r, "no longer needed"); err != nil {
			t.Fatal(err)
		}
	})
	if cancelled.Status != pending.StatusCancelled || cancelled.Error != "no longer needed" {
		t.Errorf("got %s, %q", cancelled.Status, cancelled.Error)
	}
	if again := s.ask(1, nil); again.Status != pending.StatusCompleted {
		t.Errorf("after the cancel: got %s, %q", again.Status, fmt.Sprint(again.Error))
	}
}

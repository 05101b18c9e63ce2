package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open is an Access and a Library. It allows the daemon with the right token.
type open struct{ skillshttp.Library }

func (open) Requester(*http.Request, string) (skillshttp.Requester, error) {
	return skillshttp.Requester{}, nil
}

func (open) Daemon(r *http.Request, runtimeID string) (bool, error) {
	return runtimeID == "laptop" && r.Header.Get("Authorization") == "Bearer secret", nil
}

// serve serves an API node until the test ends.
func serve(t *testing.T) (*skills.Stores, *httptest.Server) {
	t.Helper()
	stores, err := skills.New(memory.New())
	if err != nil {
		t.Fatal(err)
	}
	config := skillshttp.Config{Stores: stores, Access: open{}, Library: open{}}
	handler, err := skillshttp.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return stores, server
}

// tempFile returns the path of a new file with a text.
func tempFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestItDoesARuntimesWork(t *testing.T) {
	stores, server := serve(t)
	args := []string{"-server", server.URL, "-runtime", "laptop",
		"-token-file", tempFile(t, "secret\n"),
		"-root", "../quickstart/sample-skills",
		"-models", tempFile(t, `[{"id":"m","label":"M"}]`),
		"-update-command", "echo now at $VERSION"}
	ctx, cancel := context.WithCancel(t.Context())
	exit := make(chan int, 1)
	var stderr bytes.Buffer
	go func() { exit <- run(ctx, args, &stderr) }()

	update := answered(t, stores.Updates, skills.Update{TargetVersion: "2"})
	if got := update.Payload.Output; !strings.Contains(got, "now at 2") {
		t.Errorf("update: got %q", got)
	}
	ping := answered(t, stores.Pings, skills.Ping{})
	if got := ping.Payload.Output; !strings.Contains(got, "up") {
		t.Errorf("ping: got %q", got)
	}
	if l := answered(t, stores.Lists, skills.NewList()).Payload; len(l.Skills) != 3 {
		t.Errorf("list: %+v", l)
	}
	if l := answered(t, stores.ModelLists, skills.NewModelList()).Payload; len(l.Models) != 1 {
		t.Errorf("models: %+v", l)
	}
	cancel()
	if code := <-exit; code != 0 {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
}

// answered makes a request and returns it once it is completed.
func answered[T any](t *testing.T, s *pending.PendingStore[T], payload T) *pending.Request[T] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked, err := s.Create(ctx, "laptop", payload)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Await(ctx, asked.ID)
	if err != nil || r.Status != pending.StatusCompleted {
		t.Fatalf("got %v, %v", r, err)
	}
	return r
}

func TestAnUpdateThatFailsSaysHow(t *testing.T) {
	output, err := update(t.Context(), "echo broken; exit 3", "2")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") ||
		!strings.Contains(output, "broken") {
		t.Errorf("got %q, %v", output, err)
	}
	if output, err := update(t.Context(), "", "2"); err != nil || !strings.Contains(output, "2") {
		t.Errorf("without a command: %q, %v", output, err)
	}
}

func TestAnUpdateSeesNoSecretAndItsOutputIsBounded(t *testing.T) {
	t.Setenv("DAEMON_TOKEN", "secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	output, err := update(t.Context(), "env; yes | head -c 1000000", "2")
	if err != nil || strings.Contains(output, "secret") || !strings.Contains(output, "VERSION=2") ||
		!strings.Contains(output, "PATH=") {
		t.Errorf("got %.2000s, %v", output, err)
	}
	if len(output) > maxOutput+100 || !strings.HasSuffix(output, "[cut after 65536 bytes]") {
		t.Errorf("the output has %d bytes and ends in %q", len(output), output[len(output)-30:])
	}
	if strings.Contains(helpText(t), "secret") {
		t.Error("--help shows the token")
	}
}

func helpText(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &text); code != 0 {
		t.Errorf("--help exits with %d", code)
	}
	return text.String()
}

// The process that the update leaves behind keeps the update's pipe open for a minute.
func TestAnUpdateThatLeavesAProcessBehind(t *testing.T) {
	began := time.Now()
	output, err := update(t.Context(), "echo done; sleep 60 & echo $!", "2")
	if err != nil || !strings.Contains(output, "done") || time.Since(began) > 30*time.Second {
		t.Errorf("got %q, %v after %v", output, err, time.Since(began))
	}
	_, pid, _ := strings.Cut(strings.TrimSpace(output), "\n")
	if p, err := strconv.Atoi(pid); err == nil {
		if left, err := os.FindProcess(p); err == nil {
			_ = left.Kill()
		}
	}
}

func TestWhatTheCommandLineRefuses(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "Usage"},
		{[]string{"-nonsense"}, 2, "Usage"},
		{[]string{"extra"}, 2, "extra"},
		{[]string{"-token-file", "/no/such/file"}, 2, "no such file"},
		{[]string{"-server", "x"}, 2, "Server"},
		{[]string{"-server", "http://x"}, 2, "RuntimeID"},
		{[]string{"-models", "/no/such/file"}, 2, "-models"},
		{[]string{"-server", "x", "-root", "/no/such/folder"}, 2, "not a folder"},
		{[]string{"-server", "x", "-root", "main.go"}, 2, "not a folder"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), tc.args, &stderr)
		if code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d with %q\n%s", tc.args, code, tc.code, tc.says, &stderr)
		}
	}
}

func TestTheLogHasNoPasswordOfTheServersURL(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	args := []string{"-server", "http://laptop:hunter2@localhost:1", "-runtime", "laptop"}
	if code := run(ctx, args, &stderr); code != 0 || strings.Contains(stderr.String(), "hunter2") {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
}

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

// open lets the daemon with the right token in.
type open struct{ skillshttp.Library }

func (open) Requester(*http.Request, string) (skillshttp.Requester, error) {
	return skillshttp.Requester{}, nil
}

func (open) Daemon(r *http.Request, runtimeID string) (bool, error) {
	return runtimeID == "laptop" && r.Header.Get("Authorization") == "Bearer secret", nil
}

func TestItDoesARuntimesWork(t *testing.T) {
	stores, err := skills.New(memory.New())
	if err != nil {
		t.Fatal(err)
	}
	handler, err := skillshttp.New(skillshttp.Config{Stores: stores, Access: open{}, Library: open{}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args := []string{"-server", server.URL, "-runtime", "laptop", "-token-file", write("token", "secret\n"), "-root", "../quickstart/sample-skills",
		"-models", write("models.json", `[{"id":"m","label":"M"}]`), "-update-command", "echo now at $VERSION"}
	ctx, cancel := context.WithCancel(t.Context())
	exit := make(chan int, 1)
	var stderr bytes.Buffer
	go func() { exit <- run(ctx, args, &stderr) }()

	check := func(what, want, got string, err error) {
		t.Helper()
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
	update := answered(t, stores.Updates, skills.Update{TargetVersion: "2"})
	check("update", "now at 2", update.Payload.Output, nil)
	check("ping", "up", answered(t, stores.Pings, skills.Ping{}).Payload.Output, nil)
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

func answered[T any](t *testing.T, s *pending.PendingStore[T], payload T) *pending.Request[T] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
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
	if err == nil || !strings.Contains(output, "broken") || !strings.Contains(err.Error(), "exit status 3") {
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
		t.Errorf("%d bytes of output, which end in %q", len(output), output[len(output)-30:])
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

// A process that an update leaves behind keeps its pipe, for a minute here.
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

	ctx, cancel := context.WithCancel(t.Context())
	ready := filepath.Join(t.TempDir(), "ready")
	go func() {
		defer cancel()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
			if _, err := os.Stat(ready); err == nil {
				return
			}
		}
	}()
	began = time.Now()
	if output, err := update(ctx, "sleep 60 & touch "+ready+"; wait", "2"); err == nil || time.Since(began) > 40*time.Second {
		t.Errorf("given up: %q, %v after %v", output, err, time.Since(began))
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
		{[]string{"-server", "http://x", "-runtime", "r", "-root", "/no/such/folder"}, 2, "not a folder"},
		{[]string{"-server", "http://x", "-runtime", "r", "-root", "main.go"}, 2, "not a folder"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d\n%s", tc.args, code, tc.code, stderr.String())
		}
	}
}

package docs_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pendingq/pendingq/internal/postgrestest"
	"github.com/pendingq/pendingq/internal/redistest"
)

var runFor = flag.Duration("commands", 0,
	"run each command of the documents in a clone, and interrupt it after this time")

var failed = regexp.MustCompile(`(?m)^(\s*--- FAIL|FAIL|panic:|fatal error:|WARNING: DATA RACE)`)

// showsBug matches a command that has to fail: it shows the bug that pendingq is about.
var showsBug = regexp.MustCompile(`quickstart -separate`)

// A command must succeed. A command that is interrupted must not have failed until then, and it
// must end. The clone has the last commit. The test has its own servers, which replace the
// addresses in the documents.
func TestCommandsRun(t *testing.T) {
	if *runFor == 0 {
		t.Skip("runs only with -commands, a time for each command")
	}
	top := t.TempDir()
	if out, err := exec.Command("git", "clone", "-q", "..", top).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	tokens := read(t, "deploy/tokens.example.yaml")
	if err := os.WriteFile(filepath.Join(top, "tokens.yaml"), []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	redis, postgres := redistest.Start(t), postgrestest.Start(t)
	there := strings.NewReplacer(":SECRET@localhost:6379", redis.Addr, "localhost:6379", redis.Addr,
		"-redis URL", "-redis redis://"+redis.Addr, "-postgres URL", "-postgres "+postgres.URL,
		"DIR", t.TempDir())
	done := map[string]bool{}
	for _, c := range commands(t) {
		dir := c.dir
		if folder := regexp.MustCompile(` \./[\w/]*\w`).FindString(c.text); folder != "" &&
			!exists(filepath.Join(dir, folder[1:])) {
			dir = c.module()
		}
		dir, text := filepath.Join(top, strings.TrimPrefix(dir, "..")), strings.TrimSpace(c.text)
		if !done[dir+text] {
			done[dir+text] = true
			t.Run(text, func(t *testing.T) { runCommand(t, dir, there.Replace(text)) })
		}
	}
}

func runCommand(t *testing.T, dir, text string) {
	ctx, cancel := context.WithTimeout(t.Context(), *runFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", text)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal reaches all its processes
	out := &output{to: -1}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error {
		out.cut()
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	}
	cmd.WaitDelay = time.Minute
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		err = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		t.Errorf("it did not end after an interrupt; kill: %v\n%s", err, out)
	case ctx.Err() == nil && (err != nil) != showsBug.MatchString(text):
		t.Errorf("%v\n%s", err, out)
	case failed.MatchString(out.beforeCut()):
		t.Errorf("it failed:\n%s", out)
	case ctx.Err() == nil:
		t.Log("it succeeded")
	default:
		t.Log("it was interrupted")
	}
}

// output is what a command has written. An interrupted go test says that it has failed, so the
// output is cut before an interrupt.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	to   int // where it was cut, or -1
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to = o.text.Len()
}

func (o *output) beforeCut() string {
	if o.to < 0 {
		return o.String()
	}
	return o.String()[:o.to]
}

func (o *output) String() string { return o.text.String() }

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/internal/redistest"
)

func TestTheReportIsWhole(t *testing.T) {
	redistest.Need(t)
	out, raw := filepath.Join(t.TempDir(), "report.md"), filepath.Join(t.TempDir(), "raw.txt")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-set", "quick", "-out", out, "-raw", raw}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s", code, stderr.String())
	}
	report, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Targets", "bare-full, 512 callers", "sealed.zstd.msgpack", "round trips of a lifecycle", "bytes in Redis", "allocations", "pick-up latency", "```mermaid", "## Large answers", "import-8MB", "## What follows"} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	lines, err := os.ReadFile(raw)
	if err != nil || !strings.Contains(string(lines), "BenchmarkLifecycle/side=original/callers=64") {
		t.Errorf("the raw output: %v\n%s", err, lines)
	}
}

func TestWhatTheCommandLineRefuses(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
	}{{[]string{"--help"}, 0}, {[]string{"-nonsense"}, 2}, {[]string{"-set", "huge"}, 2}, {[]string{"extra"}, 2}, {[]string{"-redis", "nonsense://"}, 1}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stdout, &stderr); code != tc.code {
			t.Errorf("%v: exit %d, want %d\n%s", tc.args, code, tc.code, stderr.String())
		}
	}
}

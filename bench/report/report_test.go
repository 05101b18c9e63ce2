package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

// smallest is for a run with the race detector, in which figures mean nothing. It is enough for all
// kinds of callers to meet.
var smallest = size{rounds: 1, each: 40, swept: 40, live: 100, many: 2000, pickups: 5,
	codecRounds: 1, benchtime: time.Microsecond, grown: []int{100, 200},
	answers: []int{200, 25_000}}

func TestTheReportIsWhole(t *testing.T) {
	redistest.Need(t)
	if effort.Race {
		quick := sets["quick"]
		sets["quick"] = smallest
		t.Cleanup(func() { sets["quick"] = quick })
	}
	dir := t.TempDir()
	out, raw := filepath.Join(dir, "report.md"), filepath.Join(dir, "raw.txt")
	counted, postgres := filepath.Join(dir, "instructions.md"), filepath.Join(dir, "postgres.md")
	for file, text := range map[string]string{
		counted: "| claim | 139.3k |\n", postgres: "## Pick-up\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	args := []string{"-set", "quick", "-out", out, "-raw", raw, "-instructions", counted,
		"-postgres", postgres}
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s", code, stderr.String())
	}
	report, _ := os.ReadFile(out) // without the report all is missing
	for _, want := range []string{
		"## Targets", "round trips of a lifecycle", "1 caller: p99", "512 callers: server CPU",
		"1 ms of network", "idle heartbeat over five stores", "claim among 10,000 running",
		"bytes in Redis", "allocations", "pick-up latency", "### 8 callers", "pendingq-gathered",
		"floor-gathered", "```mermaid", "## Over a network", "pendingq, with a ping", "idle poll",
		"| claim | 139.3k |", "### Pick-up", "## Large answers",
		"over HTTP on loopback", "idle heartbeat, over HTTP", "sealed.zstd.msgpack", "import-8MB",
		"## What follows"} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	const tables = 6 // of lifecycles, by callers, and over a network
	if got := strings.Count(string(report), "\n| pendingq-held | "); got != tables {
		t.Errorf("%d tables have a report that loads its claim, want %d", got, tables)
	}
	lines, err := os.ReadFile(raw)
	line := "BenchmarkLifecycle/over=redis/callers=64/side=original "
	if err != nil || !strings.Contains(string(lines), line) {
		t.Errorf("the raw output: %v\n%s", err, lines)
	}
}

func TestWhatTheCommandLineRefuses(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
	}{
		{[]string{"--help"}, 0},
		{[]string{"-nonsense"}, 2},
		{[]string{"-set", "huge"}, 2},
		{[]string{"extra"}, 2},
		{[]string{"-instructions", "missing.md"}, 1},
		{[]string{"-postgres", "missing.md"}, 1},
		{[]string{"-redis", "nonsense://"}, 1},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stdout, &stderr); code != tc.code {
			t.Errorf("%v: exit %d, want %d\n%s", tc.args, code, tc.code, stderr.String())
		}
	}
}

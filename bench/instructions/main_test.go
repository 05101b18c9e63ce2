package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryOperationIsCounted(t *testing.T) {
	redistest.Need(t)
	for _, program := range []string{"valgrind", "callgrind_control"} {
		effort.Program(t, program)
	}
	var stdout, stderr bytes.Buffer
	args := []string{"-n", "1", "-running", "10"}
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s", code, stderr.String())
	}
	if rows := strings.Count(stdout.String(), "k |\n"); rows != 26 {
		t.Errorf("%d rows, want 26\n%s", rows, stdout.String())
	}
}

func TestTheTotalOfADump(t *testing.T) {
	for dump, want := range map[string]float64{
		"events: Ir\ntotals: 1234\n": 1234, "": 0, "totals: x\n": 0,
	} {
		got, err := totalOf(dump)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v, want %v", dump, got, err, want)
		}
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), nil, &stdout, &stderr); code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	if !strings.Contains(stderr.String(), "redis-server is not installed") {
		t.Errorf("got %q", stderr.String())
	}
}

func TestWhatTheCommandLineRefuses(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
	}{
		{[]string{"--help"}, 0},
		{[]string{"-nonsense"}, 2},
		{[]string{"-n", "0"}, 2},
		{[]string{"extra"}, 2},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stdout, &stderr); code != tc.code {
			t.Errorf("%v: exit %d, want %d\n%s", tc.args, code, tc.code, stderr.String())
		}
	}
}

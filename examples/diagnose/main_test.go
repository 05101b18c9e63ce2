package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestItTellsPeopleAndPrograms(t *testing.T) {
	sound, evicting := redistest.Start(t), redistest.Start(t, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-redis", "redis://" + sound.Addr}, &stdout, &stderr); code != 0 {
		t.Errorf("a sound server: exit %d\n%s%s", code, stdout.String(), stderr.String())
	}
	stdout.Reset()
	if code := run(t.Context(), []string{"-redis", "redis://" + evicting.Addr}, &stdout, &stderr); code != 1 || !strings.HasPrefix(stdout.String(), "PROBLEM  eviction") {
		t.Errorf("an evicting server: exit %d\n%s", code, stdout.String())
	}
	stdout.Reset()
	run(t.Context(), []string{"-redis", "redis://" + evicting.Addr, "-o", "json"}, &stdout, &stderr)
	var findings []map[string]string
	if err := json.Unmarshal(stdout.Bytes(), &findings); err != nil || findings[0]["severity"] != "problem" {
		t.Errorf("as JSON: %v\n%s", err, stdout.String())
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
		{[]string{"-redis", "nonsense://"}, 2, "-redis"},
		{[]string{"-redis", "redis://ada:hun/ter2@host"}, 2, "-redis"},
		{[]string{"-cluster", "-redis", "redis://ada:hunter2%@host"}, 2, "-redis"},
		{[]string{"-o", "xml"}, 2, "xml"},
		{[]string{"-prefix", "{"}, 2, "Prefix"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stdout, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d\n%s", tc.args, code, tc.code, stderr.String())
		}
		if strings.Contains(stderr.String(), "ter2") {
			t.Errorf("%v: the password is shown:\n%s", tc.args, stderr.String())
		}
	}
}

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

func TestItReportsFindingsAsTextAndAsJSON(t *testing.T) {
	sound := redistest.Start(t)
	evicting := redistest.Start(t, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
	diagnose := func(server *redistest.Server, args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append(args, "-redis", "redis://"+server.Addr), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	if code, text := diagnose(sound); code != 0 {
		t.Errorf("a sound server: exit %d\n%s", code, text)
	}
	code, text := diagnose(evicting)
	if code != 1 || !strings.HasPrefix(text, "PROBLEM  eviction") {
		t.Errorf("an evicting server: exit %d\n%s", code, text)
	}
	_, text = diagnose(evicting, "-o", "json")
	var findings []map[string]string
	err := json.Unmarshal([]byte(text), &findings)
	if err != nil || findings[0]["severity"] != "problem" {
		t.Errorf("as JSON: %v\n%s", err, text)
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
		{[]string{"-redis", "redis://ada:hunter2%@host?cluster=true"}, 2, "-redis"},
		{[]string{"redis://127.0.0.1:1"}, 2, "unexpected argument"},
		{[]string{"-o", "xml"}, 2, "xml"},
		{[]string{"-prefix", "{"}, 2, "Prefix"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), tc.args, &stdout, &stderr)
		if code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d with %q\n%s", tc.args, code, tc.code, tc.says, &stderr)
		}
		if strings.Contains(stderr.String(), "ter2") {
			t.Errorf("%v: stderr shows the password:\n%s", tc.args, &stderr)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func verify(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatTheCommandLineSays(t *testing.T) {
	tokens, dir := writeTokens(t, someTokens), t.TempDir()
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "deleted_runtimes"},
		{[]string{"-nonsense"}, 2, "Usage"},
		{[]string{"-tokens", tokens, "-skills", dir, "x"}, 2, `unexpected argument "x"`},
		{[]string{"-skills", dir}, 2, "-tokens is required"},
		{[]string{"-tokens", tokens}, 2, "-skills is required"},
		{[]string{"-tokens", tokens + "x", "-skills", dir}, 2, "-tokens: open"},
		{[]string{"-tokens", tokens, "-skills", tokens}, 2, "-skills: "},
		{[]string{"-tokens", tokens, "-skills", dir, "-redis", "nonsense://"}, 2, "-redis: "},
		{[]string{"-tokens", tokens, "-skills", dir, "-redis", "redis://127.0.0.1:1", "-prefix", "{"}, 2, "-prefix: "},
		{[]string{"-tokens", tokens, "-skills", dir, "-redis", "redis://127.0.0.1:1"}, 1, "use Redis at 127.0.0.1:1"},
		{[]string{"-tokens", tokens, "-skills", dir, "-listen", "nonsense"}, 2, "-listen: "},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), tc.args, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d with %q\n%s", tc.args, code, tc.code, tc.says, stderr.String())
		}
	}
}

func TestASignalEndsItWell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	cancel()
	args := []string{"-tokens", writeTokens(t, someTokens), "-skills", t.TempDir(), "-listen", "127.0.0.1:0"}
	if code := run(ctx, args, &stderr); code != 0 && code != 2 { // 2: told to go before it could listen
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
	if !strings.Contains(stderr.String(), "kept in memory") {
		t.Errorf("it does not warn that nodes would not share it:\n%s", stderr.String())
	}
}

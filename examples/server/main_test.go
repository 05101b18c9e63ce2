package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func verify(m *testing.M) { goleak.VerifyTestMain(m) }

// runIn runs the program with an environment, as a service manager would.
func runIn(ctx context.Context, env map[string]string, args ...string) (
	code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, surroundings{stdout: &out, stderr: &errs,
		env: func(name string) string { return env[name] }})
	return code, out.String(), errs.String()
}

// commandLine is a call of the server that ends at once.
type commandLine struct {
	args []string
	code int
	says string
	env  map[string]string
}

func (c commandLine) check(t *testing.T) {
	t.Helper()
	code, stdout, stderr := runIn(t.Context(), c.env, c.args...)
	if code != c.code || !strings.Contains(stdout+stderr, c.says) {
		t.Errorf("%v: exit %d, want %d with %q\n%s%s",
			c.args, code, c.code, c.says, stdout, stderr)
	}
}

func TestTheCommandLine(t *testing.T) {
	tokens, dir := writeTokens(t, someTokens), t.TempDir()
	const nowhere = "redis://127.0.0.1:1"
	for _, c := range []commandLine{
		{[]string{"--help"}, 0, "deleted_runtimes", nil},
		{[]string{"-nonsense"}, 2, "flag provided but not defined: -nonsense", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "x"}, 2, `unexpected argument "x"`, nil},
		{[]string{"-skills", dir}, 2, "-tokens is required", nil},
		{[]string{"-tokens", tokens}, 2, "-skills is required", nil},
		{[]string{"-tokens", tokens + "x", "-skills", dir}, 2, "-tokens: open", nil},
		{[]string{"-tokens", tokens, "-skills", tokens}, 2, "-skills: ", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-backend", "redis://a/x"}, 2,
			"-backend: ", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-backend", nowhere, "-prefix", "{"}, 2,
			"-prefix: ", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-backend", nowhere}, 1,
			"use Redis at 127.0.0.1:1", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-listen", "nonsense"}, 2, "-listen: ", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-backend", "mysql://user:pw@host"}, 2,
			"none of memory:, redis://", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-backend", "postgres://u:secret@%zz"}, 2,
			"is not like postgres://", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-backend", "postgres://u@127.0.0.1:1/db"}, 1,
			"use PostgreSQL at 127.0.0.1", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-listen", ""}, 2, "-listen is empty", nil},
		{[]string{"-tokens", tokens, "-skills", dir, "-backend", ""}, 2, "-backend is empty", nil},
		{[]string{"-log", "xml"}, 2, "none of auto, text and json", nil},
		{[]string{"-drain", "-1s"}, 2, "-drain must not be negative", nil},
		{[]string{"-demo", "-metrics", "nonsense"}, 2, "-metrics: ", nil},
		{[]string{"-tokens", tokens}, 2, "PENDINGQ_DRAIN is not a duration such as 5s",
			map[string]string{"PENDINGQ_DRAIN": "long"}},
		{[]string{"-config", dir}, 2, "-config: ", nil},
		{nil, 2, "-config: ", map[string]string{"PENDINGQ_CONFIG": dir}},
	} {
		c.check(t)
	}
}

func TestTheStoresOfTheConfigurationFile(t *testing.T) {
	tokens, dir := writeTokens(t, someTokens), t.TempDir()
	for name, says := range map[string]string{
		"A B":  "-config: ",
		"ping": `-config: stores: dashboard: two stores are named "ping"`,
	} {
		config := writeConfig(t,
			"stores: [{name: "+name+", pending: 1m, running: 1m, retention: 1m}]")
		args := []string{"-tokens", tokens, "-skills", dir, "-config", config}
		commandLine{args: args, code: 2, says: says}.check(t)
	}
}

func TestASignalEndsItWell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	args := []string{"-tokens", writeTokens(t, someTokens), "-skills", t.TempDir(),
		"-listen", "127.0.0.1:0"}
	code, _, stderr := runIn(ctx, nil, args...)
	if code != 0 {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	if !strings.Contains(stderr, "kept in memory") {
		t.Errorf("the log does not warn that nodes share nothing:\n%s", stderr)
	}
}

func TestASignalWhileItWaitsForTheBackendEndsItWell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, backend := range []string{"postgres://u@127.0.0.1:1/db", "redis://127.0.0.1:1"} {
		args := []string{"-tokens", writeTokens(t, someTokens), "-skills", t.TempDir(),
			"-listen", "127.0.0.1:0", "-backend", backend}
		if code, _, stderr := runIn(ctx, nil, args...); code != 0 {
			t.Errorf("%s: exit %d\n%s", backend, code, stderr)
		}
	}
}

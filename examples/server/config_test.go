package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/pending"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parseIn(env map[string]string, args ...string) (options, error) {
	return parse(args, surroundings{env: func(name string) string { return env[name] }})
}

func TestAFlagComesBeforeItsVariableAndThatBeforeTheFile(t *testing.T) {
	file := writeConfig(t, "listen: of-file\nprefix: of-file\ntokens: of-file\nskills: of-file\n"+
		"drain: 5s\ndebug: true\n")
	env := map[string]string{"PENDINGQ_CONFIG": file, "PENDINGQ_LISTEN": "of-env",
		"PENDINGQ_PREFIX": "of-env", "PENDINGQ_LOG": "text", "PENDINGQ_TOKEN": "another program's"}
	o, err := parseIn(env, "-listen", "of-flag")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{o.listen, o.prefix, o.tokens, o.log, o.backend, o.drain.String()}
	want := []string{"of-flag", "of-env", "of-file", "text", "memory:", "5s"}
	if diff := cmp.Diff(got, want); diff != "" || !o.debug {
		t.Errorf("debug %v; got - want +\n%s", o.debug, diff)
	}
	// A flag with the default's value also comes before its variable.
	o, err = parseIn(env, "-listen", "127.0.0.1:8080")
	if err != nil || o.listen != "127.0.0.1:8080" {
		t.Errorf("got %q, %v", o.listen, err)
	}
}

func TestTheFileHasStores(t *testing.T) {
	o, err := parseIn(nil, "-demo", "-config", writeConfig(t, `stores:
  - {name: backup, pending: 10m, running: 1m, retention: 1h, cancel_grace: 10s, max_attempts: 3,
     exclusive: true, max_pending: 7, max_payload: 8, outcomes: [skipped]}
  - {name: reboot, pending: 1m, running: 1m, retention: 1m}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []pending.Policy{
		{Name: "backup", PendingTimeout: 10 * time.Minute, RunningTimeout: time.Minute,
			Retention: time.Hour, CancelGrace: 10 * time.Second, MaxAttempts: 3, Exclusive: true,
			MaxPending: 7, MaxPayload: 8, Outcomes: []pending.Status{"skipped"}},
		{Name: "reboot", PendingTimeout: time.Minute, RunningTimeout: time.Minute,
			Retention: time.Minute, MaxPayload: 64 << 10}}
	if diff := cmp.Diff(o.stores, want); diff != "" {
		t.Errorf("got - want +\n%s", diff)
	}
}

func TestConfigurationFilesThatAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		"listn: x":                       `there is no option "listn"`,
		"config: x":                      `there is no option "config"`,
		"drain: soon":                    "drain is not a duration such as 5s",
		"debug: maybe":                   "debug is not true or false",
		"drain: 5s\n---\ndebug: true":    "more than one document",
		"stores: [{nme: x}]":             "line 1: a field is unknown",
		"stores: [{pending: soon}]":      "is not a configuration file",
		"stores: [{name: a}, {name: a}]": `two stores are named "a"`,
		"backend: [redis://u:secret@h]":  "is not a configuration file",
		"{backend:redis://u:secret@h}":   "a space is missing",
		"backend: *redis://u:secret@h":   "not valid YAML",
	} {
		_, err := parseIn(nil, "-demo", "-config", writeConfig(t, text))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error has the password: %v", text, err)
		}
	}
}

func TestTheLogIsForPeopleOnATerminalAndForMachinesElsewhere(t *testing.T) {
	for _, tc := range []struct {
		format   string
		terminal bool
		want     string
	}{
		{logAuto, true, "msg=hello"},
		{logAuto, false, `"msg":"hello"`},
		{logText, false, "msg=hello"},
		{logJSON, true, `"msg":"hello"`},
	} {
		var text bytes.Buffer
		s := surroundings{stderr: &text, terminal: tc.terminal}
		newLogger(options{log: tc.format}, s).Info("hello")
		if !strings.Contains(text.String(), tc.want) {
			t.Errorf("%+v: got %s", tc, text.String())
		}
	}
}

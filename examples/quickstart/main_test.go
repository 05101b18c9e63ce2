package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// play runs the story and returns what it printed.
func play(t *testing.T, o options) (string, error) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	if o.out == "" {
		o.out = t.TempDir()
	}
	if o.patience == 0 {
		o.patience = 10 * time.Second
	}
	var output bytes.Buffer
	err := show(t.Context(), o, &output)
	return output.String(), err
}

func TestEverythingIsAnsweredAcrossNodes(t *testing.T) {
	server, err := miniredis.Run()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for name, url := range map[string]string{
		"memory":    "",
		"miniredis": "redis://" + server.Addr(),
	} {
		t.Run(name, func(t *testing.T) { checkStory(t, url) })
	}
	t.Run("redis", func(t *testing.T) { checkStory(t, "redis://"+redistest.Start(t).Addr) })
}

func checkStory(t *testing.T, url string) {
	out := t.TempDir()
	output, err := play(t, options{redis: url, out: out})
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, want := range []string{"all five kinds of request were answered", "docs/tone-of-voice", "now at 1.4.2", "node 1", "node 2", "node 3"} {
		if !strings.Contains(output, want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
	for _, file := range []string{"SKILL.md", "templates/notes.md"} {
		got, err := os.ReadFile(filepath.Join(out, "skill-release-notes", file))
		want, _ := os.ReadFile(filepath.Join("sample-skills/release-notes", file))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the imported %s differs: %v", file, err)
		}
	}
}

func TestSeparateStoresShowTheBug(t *testing.T) {
	output, err := play(t, options{separate: true, patience: 200 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("got error %v, want five requests without an answer", err)
	}
	for _, want := range []string{"NOT FOUND", "gave up", "This is the bug that pendingq exists for"} {
		if !strings.Contains(output, want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
}

func TestOnesOwnSkillsAreListed(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "mine"), os.DirFS("sample-skills/sql-review")); err != nil {
		t.Fatal(err)
	}
	output, err := play(t, options{root: root})
	if err != nil || !strings.Contains(output, `the skill "mine"`) {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestAnInterruptEndsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var output bytes.Buffer
	if err := show(ctx, options{out: t.TempDir(), patience: time.Minute, root: "sample-skills"}, &output); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestWhatTheCommandLineRefuses(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"extra"}, {"-separate", "-redis", "redis://x"}, {"-patience", "0s"}} {
		var output bytes.Buffer
		if _, err := parse(args, &output); err == nil || !strings.Contains(output.String(), "Usage") {
			t.Errorf("%v: got %v and\n%s", args, err, output.String())
		}
	}
	var output bytes.Buffer
	if _, err := parse([]string{"--help"}, &output); !errors.Is(err, flag.ErrHelp) || !strings.Contains(output.String(), "-separate") {
		t.Errorf("--help: %v\n%s", err, output.String())
	}
	for name, o := range map[string]options{
		"no such folder": {root: "/no/such/folder"},
		"no such server": {redis: "redis://127.0.0.1:1"},
		"a broken URL":   {redis: "nonsense://"},
	} {
		if _, err := play(t, o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

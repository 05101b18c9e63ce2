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

	"github.com/pendingq/pendingq/internal/postgrestest"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
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
		o.patience = time.Minute
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
	for name, o := range map[string]options{
		"memory":    {},
		"miniredis": {redis: "redis://" + server.Addr()},
	} {
		t.Run(name, func(t *testing.T) { checkStory(t, o) })
	}
	t.Run("redis", func(t *testing.T) {
		checkStory(t, options{redis: "redis://" + redistest.Start(t).Addr})
	})
	t.Run("postgres", func(t *testing.T) {
		url := postgrestest.Start(t).URL
		checkStory(t, options{postgres: url})
		checkStory(t, options{postgres: url}) // the schema exists now
	})
}

func checkStory(t *testing.T, o options) {
	o.out = t.TempDir()
	output, err := play(t, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, want := range []string{"all five kinds of request were answered", "docs/tone-of-voice",
		"now at 1.4.2", "node 1", "node 2", "node 3"} {
		if !strings.Contains(output, want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
	for _, file := range []string{"SKILL.md", "templates/notes.md"} {
		got, err := os.ReadFile(filepath.Join(o.out, "skill-release-notes", file))
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
	for _, want := range []string{"NOT FOUND", "gave up",
		"This is the bug that pendingq exists for"} {
		if !strings.Contains(output, want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
}

func TestANodeTakesOnlyTheReportOfTheLatestAttempt(t *testing.T) {
	c, closeNodes, err := newNodes(t.Context(), options{out: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer closeNodes()
	n := c.nodes[0]
	asked, err := n.Pings.Create(t.Context(), "machine", skills.Ping{})
	if err != nil {
		t.Fatal(err)
	}
	work, err := n.Heartbeat(t.Context(), "machine")
	if err != nil {
		t.Fatal(err)
	}
	report := func(attempt int, output string) error {
		return answer(t.Context(), c.nodes[1].Pings, asked.ID, attempt,
			func(p *skills.Ping) { p.Output = output })
	}
	if err := report(work.Ping.Attempt-1, "early"); !errors.Is(err, pending.ErrStaleClaim) {
		t.Errorf("a report of an earlier attempt: got %v, want ErrStaleClaim", err)
	}
	if err := report(work.Ping.Attempt, "up"); err != nil {
		t.Errorf("the report of the claim: %v", err)
	}
	got, err := c.nodes[2].Pings.Get(t.Context(), asked.ID)
	if err != nil || got.Status != pending.StatusCompleted || got.Payload.Output != "up" {
		t.Errorf("got %+v, %v, want it completed with the output of its claim", got, err)
	}
}

func TestALateReportLeavesNoSkillBehind(t *testing.T) {
	out := t.TempDir()
	c, closeNodes, err := newNodes(t.Context(), options{out: out})
	if err != nil {
		t.Fatal(err)
	}
	defer closeNodes()
	n := c.nodes[0]
	_, err = n.Imports.Create(t.Context(), "machine", skills.Import{SkillKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	claim, err := n.Imports.PopPending(t.Context(), "machine")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Imports.Timeout(t.Context(), &claim.Request); err != nil {
		t.Fatal(err)
	}
	bundle := skills.Bundle{Name: "mine", Content: "c"}
	err = n.saveImport(t.Context(), claim.ID, claim.Attempt, bundle)
	if !errors.Is(err, pending.ErrEnded) {
		t.Errorf("the report: got %v, want ErrEnded", err)
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v, want no files", left, err)
	}
}

func TestTheUsersOwnSkillsAreListed(t *testing.T) {
	root := t.TempDir()
	sample := os.DirFS("sample-skills/sql-review")
	if err := os.CopyFS(filepath.Join(root, "mine"), sample); err != nil {
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
	o := options{out: t.TempDir(), patience: time.Minute, root: "sample-skills"}
	if err := show(ctx, o, &output); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

func TestWhatTheCommandLineRefuses(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"extra"}, {"-patience", "0s"},
		{"-separate", "-redis", "redis://x"}, {"-separate", "-postgres", "postgres://x"},
		{"-redis", "redis://x", "-postgres", "postgres://x"}} {
		var output bytes.Buffer
		_, err := parse(args, &output)
		if err == nil || !strings.Contains(output.String(), "Usage") {
			t.Errorf("%v: got %v and\n%s", args, err, &output)
		}
	}
	var output bytes.Buffer
	_, err := parse([]string{"--help"}, &output)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(output.String(), "-separate") {
		t.Errorf("--help: %v\n%s", err, &output)
	}
	for name, o := range map[string]options{
		"no such folder":          {root: "/no/such/folder"},
		"no such server":          {redis: "redis://127.0.0.1:1"},
		"a broken URL":            {redis: "nonsense://"},
		"no such database server": {postgres: "postgres://127.0.0.1:1/x"},
		"a broken database URL":   {postgres: "postgres://[nonsense"},
	} {
		if _, err := play(t, o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

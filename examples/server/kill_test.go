package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// victimEnv names a folder. With it, this test program saves skills there until it is killed.
const victimEnv = "PENDINGQ_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		saveForEver(dir)
	}
	verify(m)
}

// step is a line of the victim's output. Saved is nil before a save, and its result after it.
type step struct {
	Save  skillshttp.Save
	Saved *skills.Skill
}

// saveForEver saves one skill after the other, as new skills or over one skill. It writes a step
// before and after each save.
func saveForEver(dir string) {
	l, err := openLibrary(dir, slog.New(slog.DiscardHandler))
	for i := 0; err == nil; i++ {
		s := saveOf(fmt.Sprint(os.Getpid(), " ", i))
		s.Overwrite = os.Getenv(victimEnv + "_OVER")
		said := json.NewEncoder(os.Stdout)
		_ = said.Encode(step{Save: s})
		var skill skills.Skill
		if skill, err = l.Save(context.Background(), s); err == nil {
			_ = said.Encode(step{s, &skill})
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// killed starts a victim, kills it after some lines, and returns its steps. The kill can hit any
// moment of a save.
func killed(t *testing.T, dir, overwrite string, lines int) (steps []step) {
	t.Helper()
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), victimEnv+"="+dir, victimEnv+"_OVER="+overwrite)
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for said.Scan() {
		var s step
		if err := json.Unmarshal(said.Bytes(), &s); err != nil {
			break // the kill cut the line off
		}
		if steps = append(steps, s); len(steps) == lines {
			_ = victim.Process.Kill()
		}
	}
	_ = victim.Wait()
	return steps
}

// After a kill at any moment, a finished save is still there, and a repeat finishes the other one.
func TestAServerThatIsKilledWhileItSaves(t *testing.T) {
	dir := t.TempDir()
	survivor := libraryIn(t, dir)
	target := saved(t, survivor, saveOf("target"))
	for i := range 12 {
		overwrite := ""
		if i%2 == 1 {
			overwrite = target.ID
		}
		steps := killed(t, dir, overwrite, 6+i)
		if len(steps) < 6+i {
			t.Fatalf("the victim wrote only %d steps", len(steps))
		}
		for _, s := range steps[max(0, len(steps)-keptVersions):] {
			again := saved(t, survivor, s.Save)
			if s.Saved == nil {
				continue
			}
			if diff := cmp.Diff(*s.Saved, again); diff != "" {
				t.Errorf("a repeat of a finished save (-saved +repeat):\n%s", diff)
			}
		}
	}
}

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

// victimEnv has the test's own program save skills in this folder until it is killed.
const victimEnv = "PENDINGQ_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		saveForEver(dir)
	}
	verify(m)
}

// step is what the victim is about to save, and then what it has saved.
type step struct {
	Save  skillshttp.Save
	Saved *skills.Skill
}

// saveForEver saves one skill after the other, new ones or over another, and says so before and
// after.
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

// killed lets a process save skills, and kills it after some lines, wherever it is by then. It
// returns what was said.
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
			break // the kill has cut it
		}
		if steps = append(steps, s); len(steps) == lines {
			_ = victim.Process.Kill()
		}
	}
	_ = victim.Wait()
	return steps
}

// Wherever a server is killed, what it has saved stays saved, and what it was saving is saved by
// the repeat.
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
			t.Fatalf("the victim has said only %d things", len(steps))
		}
		for _, s := range steps[max(0, len(steps)-keptVersions):] {
			again := saved(t, survivor, s.Save)
			if s.Saved == nil {
				continue
			}
			if diff := cmp.Diff(*s.Saved, again); diff != "" {
				t.Errorf("a repeat of what was saved (-saved +repeat):\n%s", diff)
			}
		}
	}
}

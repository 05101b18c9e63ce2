package daemon_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
	"github.com/pendingq/pendingq/skills/folders"
)

func TestEveryKindIsAnswered(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "notes"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "notes", "SKILL.md")
	if err := os.WriteFile(file, []byte("# Notes"), 0o644); err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(w *world) {
		h := daemon.Folders([]folders.Root{{Provider: "claude", Path: root}})
		h.Ping = func(context.Context) (string, error) { return "up", nil }
		h.Update = func(_ context.Context, version string) (string, error) {
			return "at " + version, nil
		}
		h.Models = func(context.Context) (skills.ModelList, error) {
			return skills.ModelList{Models: []skills.Model{{ID: "m"}}, Supported: true}, nil
		}
		stop := w.run(h)
		list := await(w, w.stores.Lists, skills.NewList())
		if found := list.Payload.Skills; len(found) != 1 || found[0].Key != "notes" {
			t.Errorf("list: %s %+v", list.Status, list.Payload)
		}
		imported := await(w, w.stores.Imports, skills.Import{SkillKey: "notes"})
		if s := imported.Payload.Skill; s == nil || s.Content != "# Notes" {
			t.Errorf("import: %s %+v", imported.Status, imported.Payload)
		}
		outside := await(w, w.stores.Imports, skills.Import{SkillKey: "../etc"})
		wantFailed(w, "import of a key that leads outside", outside, "invalid skill key")
		if r := await(w, w.stores.Pings, skills.Ping{}); r.Payload.Output != "up" {
			t.Errorf("ping: %s %+v", r.Status, r.Payload)
		}
		update := await(w, w.stores.Updates, skills.Update{TargetVersion: "2"})
		if update.Payload.Output != "at 2" {
			t.Errorf("update: %s %+v", update.Status, update.Payload)
		}
		models := await(w, w.stores.ModelLists, skills.NewModelList())
		if len(models.Payload.Models) != 1 || !models.Payload.Supported {
			t.Errorf("models: %s %+v", models.Status, models.Payload)
		}
		w.stopped(stop)
	})
}

// wantFailed checks that a request has failed for a reason that contains a text.
func wantFailed[T any](w *world, what string, r *pending.Request[T], reason string) {
	w.Helper()
	if r.Status != pending.StatusFailed || !strings.Contains(r.Error, reason) {
		w.Errorf("%s: got %s %q, want failed with %q", what, r.Status, r.Error, reason)
	}
}

func TestARuntimeWithoutHandlersAnswersEveryKind(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{})
		list := await(w, w.stores.Lists, skills.NewList())
		if list.Status != pending.StatusCompleted || list.Payload.Supported {
			t.Errorf("list: %s %+v", list.Status, list.Payload)
		}
		models := await(w, w.stores.ModelLists, skills.NewModelList())
		if models.Status != pending.StatusCompleted || models.Payload.Supported {
			t.Errorf("models: %s %+v", models.Status, models.Payload)
		}
		imported := await(w, w.stores.Imports, skills.Import{SkillKey: "k"})
		wantFailed(w, "import", imported, "cannot import")
		wantFailed(w, "update", await(w, w.stores.Updates, skills.Update{}), "cannot update")
		if r := await(w, w.stores.Pings, skills.Ping{}); r.Status != pending.StatusCompleted {
			t.Errorf("ping: %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

func TestHandlersThatFailOrCrash(t *testing.T) {
	inWorld(t, func(w *world) {
		broken := errors.New("no disk")
		stop := w.run(daemon.Handlers{
			List:   func(context.Context) (l skills.List, err error) { return l, broken },
			Import: func(context.Context, string) (skills.Bundle, error) { panic("secret") },
			Ping:   func(context.Context) (string, error) { return "", broken },
			Update: func(context.Context, string) (string, error) { return "log", broken },
			Models: func(context.Context) (l skills.ModelList, err error) { return l, broken },
		})
		crashed := await(w, w.stores.Imports, skills.Import{SkillKey: "k"})
		if crashed.Error != "the runtime's handler crashed" {
			t.Errorf("a crash: %s %q", crashed.Status, crashed.Error)
		}
		for _, got := range []string{
			await(w, w.stores.Lists, skills.List{}).Error,
			await(w, w.stores.Pings, skills.Ping{}).Error,
			await(w, w.stores.ModelLists, skills.ModelList{}).Error,
		} {
			if got != "no disk" {
				t.Errorf("got reason %q, want the handler's error", got)
			}
		}
		update := await(w, w.stores.Updates, skills.Update{})
		if update.Error != "no disk" || update.Payload.Output != "log" {
			t.Errorf("update: %q %+v", update.Error, update.Payload)
		}
		w.stopped(stop)
		if strings.Contains(w.log.String(), "secret") {
			t.Errorf("the log contains the value of the panic:\n%s", w.log)
		}
	})
}

func TestWorkIsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		for range 20 {
			ask(w, w.stores.Imports, skills.Import{SkillKey: "k"})
		}
		var mu sync.Mutex
		running, most := 0, 0
		stop := w.run(daemon.Handlers{Import: func(context.Context, string) (skills.Bundle, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return skills.Bundle{Name: "n", Content: "c"}, nil
		}}, func(c *daemon.Config) { c.MaxConcurrent = 3 })
		<-time.After(20 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 || w.library.count() != 20 {
			t.Errorf("%d imports ran at a time, want 3; %d of 20 skills are saved",
				most, w.library.count())
		}
		for _, beat := range w.heartbeats() {
			if beat.SupportsBatchImport {
				t.Error("the daemon asked for a batch without room for it")
				break
			}
		}
		w.stopped(stop)
	})
}

func TestALongUpdateReportsThatItRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		stop := w.run(daemon.Handlers{Update: func(context.Context, string) (string, error) {
			<-time.After(10 * time.Minute)
			return "done", nil
		}})
		r := await(w, w.stores.Updates, skills.Update{TargetVersion: "2"})
		if r.Status != pending.StatusCompleted || r.Payload.Output != "done" {
			t.Errorf("got %s %s", r.Status, r.Error)
		}
		w.stopped(stop)
	})
}

package skillshttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
	"github.com/pendingq/pendingq/skills/wire"
)

const imports = "/local-skills/import"

// bundle is the report of a skill of this name.
func bundle(name string) string {
	return fmt.Sprintf(`{"status":"completed","skill":{"name":%q,"description":"d","content":"# text",`+
		`"files":[{"path":"a/b.md","content":"<b>"}]}}`, name)
}

// claimed asks for an import and has it claimed.
func (w *world) claimed(ask string) string {
	w.Helper()
	id := w.ask(imports, ask)
	w.want("claim", w.heartbeat(beat), 200, id)
	return id
}

func TestAnImportIsSavedUnderItsCreatorsName(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k","name":"Mine"}`)
	w.want("report", w.report(imports, id, bundle("theirs")), 200)
	r := w.read(imports, id)
	w.want("read", r, 200, `"status":"completed"`, `"name":"Mine"`, `"description":"d"`, `"created_by":"owner"`,
		`"config":{"a":1}`, `"path":"a/b.md","content":"<b>"`)
	w.want("a repeated report", w.report(imports, id, bundle("theirs")), 200)
	if w.read(imports, id).body != r.body || w.library.saved() != 1 {
		t.Errorf("a repeated report changed something: %d skills", w.library.saved())
	}
}

func TestAnImportWithoutFilesHasAList(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, id, `{"status":"completed","skill":{"name":"n","content":"c"}}`)
	w.want("read", w.read(imports, id), 200, `"files":[]`)
}

func TestAnImportWithNothingInItFails(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.want("report", w.report(imports, id, `{"status":"completed"}`), 200)
	w.want("read", w.read(imports, id), 200, `"status":"failed"`, `"error":"daemon returned an empty skill bundle"`)
}

func TestANameThatIsTaken(t *testing.T) {
	w := newWorld(t)
	first := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, first, bundle("n"))

	old := w.claimed(`{"skill_key":"k"}`)
	w.want("report", w.report(imports, old, bundle("n")), 200)
	w.want("an old client", w.read(imports, old), 200, `"status":"failed"`, `"error":"a skill with this name already exists"`)

	knowing := w.claimed(`{"skill_key":"k","supports_conflict":true}`)
	w.want("report", w.report(imports, knowing, bundle("n")), 200)
	r := w.read(imports, knowing)
	w.want("a client that knows conflicts", r, 200, `"status":"conflict"`, `"can_overwrite":true`, `"existing_created_by":"owner"`)

	conflict, _ := r.fields()["conflict"].(map[string]any)
	again := w.claimed(fmt.Sprintf(`{"skill_key":"k","action":"overwrite","target_skill_id":%q}`, conflict["existing_skill_id"]))
	w.want("report", w.report(imports, again, bundle("n")), 200)
	w.want("overwritten", w.read(imports, again), 200, `"status":"completed"`, fmt.Sprintf(`"id":%q`, conflict["existing_skill_id"]))
}

func TestOnlyTheCreatorOverwrites(t *testing.T) {
	w := newWorld(t)
	w.library.err = fmt.Errorf("%w: only its creator may overwrite a skill", skillshttp.ErrRefused)
	id := w.claimed(`{"skill_key":"k","action":"overwrite","target_skill_id":"5f0c7a86-4c1c-4f57-a1f5-0d5a9c3a5a11"}`)
	w.want("report", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"failed"`, `only its creator may overwrite`)
}

// bundled is the report of a skill with these files.
func bundled(t *testing.T, skill skills.Bundle) string {
	t.Helper()
	text, err := json.Marshal(wire.ImportReport{
		Report: wire.Report{Status: "completed"}, Skill: &skill})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFilesOfAnImportAreDroppedOrCleaned(t *testing.T) {
	w := newWorld(t)
	b := skills.Bundle{Name: "n", Content: "c\x00d"}
	for _, path := range []string{"what?.md", "a:b.md", "aux.md", "Notes.md", "notes.md", "./c.md", "a//b.md",
		".hidden/x", "x/../y.md", "f\x00.md", "sub/SKILL.md", `back\slash.md`, // kept
		"SKILL.md", "./skill.md", "", ".", "/etc/x", `C:\x`, "../x", "a/../../b", `a\..\..\b`, "c.md"} {
		b.Files = append(b.Files, skills.BundleFile{Path: path, Content: "\x00x"})
	}
	id := w.claimed(`{"skill_key":"k"}`)
	w.want("report", w.report(imports, id, bundled(t, b)), 200)
	w.want("read", w.read(imports, id), 200, `"status":"completed"`, `"left_out_count":10`)
	var paths []string
	saved := w.library.byRequest[id]
	for _, f := range saved.Files {
		paths = append(paths, f.Path)
		if f.Content != "x" {
			t.Errorf("%s: got %q, want it without NUL", f.Path, f.Content)
		}
	}
	want := []string{"what?.md", "a:b.md", "aux.md", "Notes.md", "notes.md", "c.md", "a/b.md",
		".hidden/x", "y.md", "f.md", "sub/SKILL.md", `back\slash.md`}
	if diff := cmp.Diff(want, paths); diff != "" || saved.Content != "cd" {
		t.Errorf("saved %q with files (-want +got):\n%s", saved.Content, diff)
	}
	if n := strings.Count(w.log.String(), "a file of an imported skill is dropped"); n != 10 {
		t.Errorf("the log names %d dropped files, want 10:\n%s", n, w.log)
	}
}

func TestASkillOverALimitIsRefusedAndFails(t *testing.T) {
	w := newWorld(t)
	for says, change := range map[string]func(*skills.Bundle){
		"name has over 255 bytes":         func(b *skills.Bundle) { b.Name = strings.Repeat("n", 256) },
		"description has over 8192 bytes": func(b *skills.Bundle) { b.Description = strings.Repeat("d", 8193) },
		"source_path has over 4096 bytes": func(b *skills.Bundle) { b.SourcePath = strings.Repeat("s", 4097) },
		"provider has over 64 bytes":      func(b *skills.Bundle) { b.Provider = strings.Repeat("p", 65) },
	} {
		b := skills.Bundle{Name: "n", Content: "c"}
		change(&b)
		id := w.claimed(`{"skill_key":"k"}`)
		w.want(says, w.report(imports, id, bundled(t, b)), 413, says, `"code":"too_large"`)
		w.want(says, w.read(imports, id), 200, `"status":"failed"`, says)
	}
	id := w.claimed(`{"skill_key":"k"}`)
	many := skills.Bundle{Name: "n", Content: "c"}
	for i := range 10_000 {
		many.Files = append(many.Files, skills.BundleFile{Path: fmt.Sprint(i)})
	}
	w.want("10,000 files", w.report(imports, id, bundled(t, many)), 200)
	w.want("10,000 files", w.read(imports, id), 200, `"status":"failed"`, "256")
	if n := w.library.saved(); n != 0 {
		t.Errorf("%d of them were saved", n)
	}
}

func TestTheFieldsOfASkill(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, id, bundle("n"))
	skill, _ := w.read(imports, id).fields()["skill"].(map[string]any)
	files, _ := skill["files"].([]any)
	if len(files) != 1 {
		t.Fatalf("got skill %v", skill)
	}
	file, _ := files[0].(map[string]any)
	for _, field := range []string{"id", "skill_id", "path", "content", "created_at", "updated_at"} {
		if _, there := file[field]; !there {
			t.Errorf("a file lacks %s: %v", field, file)
		}
	}
	if file["skill_id"] != skill["id"] {
		t.Errorf("the file is of skill %v, want %v", file["skill_id"], skill["id"])
	}
	nobodys := newWorld(t, func(c *skillshttp.Config) { c.Access = anyone{} })
	id = nobodys.claimed(`{"skill_key":"k"}`)
	nobodys.report(imports, id, bundle("n"))
	nobodys.want("read", nobodys.read(imports, id), 200, `"created_by":null`)
}

func TestALibraryThatIsAwayMakesTheDaemonComeAgain(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.library.err = errors.New("secret: no disk")
	w.want("report", w.report(imports, id, bundle("n")), 500, `{"error":"internal error"}`)
	w.want("still running", w.read(imports, id), 200, `"status":"running"`)
	w.library.err = nil
	w.want("again", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"completed"`)
}

func TestASkillSavedForNothingIsTakenBack(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.library.afterSave = func() {
		r, _ := w.stores.Imports.Get(context.Background(), id)
		_ = w.stores.Imports.Timeout(context.Background(), r)
	}
	w.want("report", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"timeout"`)
	if n := w.library.saved(); n != 0 {
		t.Errorf("%d skills are left of an import that was refused", n)
	}
}

func TestAnOverwriteIsNeverTakenBack(t *testing.T) {
	w := newWorld(t)
	first := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, first, bundle("n"))
	skill, _ := w.read(imports, first).fields()["skill"].(map[string]any)
	id := w.claimed(fmt.Sprintf(`{"skill_key":"k","action":"overwrite","target_skill_id":%q}`, skill["id"]))
	w.library.afterSave = func() {
		r, _ := w.stores.Imports.Get(context.Background(), id)
		_ = w.stores.Imports.Timeout(context.Background(), r)
	}
	w.want("report", w.report(imports, id, bundle("n")), 200)
	if n := w.library.saved(); n != 2 {
		t.Errorf("%d saves are left, want both", n)
	}
}

// unsure is a backend whose next ending happens or not, and answers with an error in either case.
type unsure struct {
	backends.Backend
	fail, happen *bool
}

func (b unsure) End(ctx context.Context, e backends.End) (rec backends.Record, err error) {
	if *b.fail {
		*b.fail = false
		if *b.happen {
			_, _ = b.Backend.End(ctx, e)
		}
		return rec, errors.New("the reply was lost")
	}
	return b.Backend.End(ctx, e)
}

// A node that dies between saving and completing, and a completion of unknown outcome, look the
// same to the next report: one skill and a completed request.
func TestAnImportCutShortIsFinishedByTheNextReport(t *testing.T) {
	for _, happened := range []bool{false, true} {
		fail, happen := false, happened
		w := newWorldOn(t, unsure{memory.New(), &fail, &happen})
		id := w.claimed(`{"skill_key":"k"}`)
		fail = true
		w.want("report", w.report(imports, id, bundle("n")), 500)
		if n := w.library.saved(); n != 1 {
			t.Fatalf("%d skills are saved, want the one", n)
		}
		w.want("again", w.report(imports, id, bundle("n")), 200)
		w.want("read", w.read(imports, id), 200, `"status":"completed"`)
		if n := w.library.saved(); n != 1 {
			t.Errorf("%d skills are saved, want one", n)
		}
	}
}

func TestAReportThatIsTooLargeFailsItsRequest(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.MaxBody = 1000 })
	id := w.ask("/ping", "")
	w.heartbeat(beat)
	w.want("report", w.report("/ping", id, `{"status":"completed","output":"`+strings.Repeat("x", 2000)+`"}`), 413)
	w.want("read", w.read("/ping", id), 200, `"status":"failed"`, `"error":"the runtime's report is too large"`)
}

func TestAnAnswerOverTheStoresLimitFailsItsRequest(t *testing.T) {
	w := newWorld(t)
	id := w.ask("/ping", "")
	w.heartbeat(beat)
	w.want("report", w.report("/ping", id, `{"status":"completed","output":"`+strings.Repeat("x", 17<<20)+`"}`), 413)
	w.want("read", w.read("/ping", id), 200, `"status":"failed"`, `"error":"the runtime's report is too large"`)
}

// The completion is cut short, as by a kill, and the request times out before the daemon's next
// report.
func TestASkillIsTakenBackByALateNextReport(t *testing.T) {
	fail, happen := false, false
	w := newWorldOn(t, unsure{memory.New(), &fail, &happen})
	id := w.claimed(`{"skill_key":"k"}`)
	fail = true
	w.want("report", w.report(imports, id, bundle("n")), 500)
	r, _ := w.stores.Imports.Get(context.Background(), id)
	_ = w.stores.Imports.Timeout(context.Background(), r)
	w.want("again", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"timeout"`)
	if n := w.library.saved(); n != 0 {
		t.Errorf("%d skills are left of an import that timed out", n)
	}
}

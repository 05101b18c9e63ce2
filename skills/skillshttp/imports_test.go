package skillshttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
	"github.com/pendingq/pendingq/skills/wire"
)

const imports = "/local-skills/import"

// bundle returns the report of a skill with this name.
func bundle(name string) string {
	return fmt.Sprintf(`{"status":"completed","skill":{"name":%q,"description":"d",`+
		`"content":"# text","files":[{"path":"a/b.md","content":"<b>"}]}}`, name)
}

// claimed creates an import, has it claimed, and returns its id.
func (w *world) claimed(ask string) string {
	w.Helper()
	id := w.ask(imports, ask)
	w.want("claim", w.heartbeat(beat), 200, id)
	return id
}

// timeOut ends an import with a timeout.
func (w *world) timeOut(id string) {
	r, _ := w.stores.Imports.Get(context.Background(), id)
	_ = w.stores.Imports.Timeout(context.Background(), r)
}

func TestAnImportIsSavedUnderItsCreatorsName(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k","name":"Mine"}`)
	w.want("report", w.report(imports, id, bundle("theirs")), 200)
	r := w.read(imports, id)
	w.want("read", r, 200, `"status":"completed"`, `"name":"Mine"`, `"description":"d"`,
		`"created_by":"owner"`, `"config":{"a":1}`, `"path":"a/b.md","content":"<b>"`)
	w.want("a repeated report", w.report(imports, id, bundle("theirs")), 200)
	if w.read(imports, id).body != r.body || w.library.saved() != 1 {
		t.Errorf("a repeated report changed the import or saved a skill: %d skills are saved",
			w.library.saved())
	}
}

func TestAnImportWithoutFilesHasAnEmptyList(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, id, `{"status":"completed","skill":{"name":"n","content":"c"}}`)
	w.want("read", w.read(imports, id), 200, `"files":[]`)
}

func TestAReportWithoutASkillFailsItsImport(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.want("report", w.report(imports, id, `{"status":"completed"}`), 200)
	w.want("read", w.read(imports, id), 200, `"status":"failed"`,
		`"error":"daemon returned an empty skill bundle"`)
}

func TestANameThatIsTaken(t *testing.T) {
	w := newWorld(t)
	first := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, first, bundle("n"))

	old := w.claimed(`{"skill_key":"k"}`)
	w.want("report", w.report(imports, old, bundle("n")), 200)
	w.want("an old client", w.read(imports, old), 200, `"status":"failed"`,
		`"error":"a skill with this name already exists"`)

	knowing := w.claimed(`{"skill_key":"k","supports_conflict":true}`)
	w.want("report", w.report(imports, knowing, bundle("n")), 200)
	r := w.read(imports, knowing)
	w.want("a client that supports conflicts", r, 200, `"status":"conflict"`,
		`"can_overwrite":true`, `"existing_created_by":"owner"`)

	conflict, _ := r.fields()["conflict"].(map[string]any)
	existing, _ := conflict["existing_skill_id"].(string)
	again := w.claimed(overwrite(existing))
	w.want("report", w.report(imports, again, bundle("n")), 200)
	w.want("overwritten", w.read(imports, again), 200, `"status":"completed"`,
		fmt.Sprintf(`"id":%q`, existing))
}

func TestOnlyTheCreatorOverwrites(t *testing.T) {
	w := newWorld(t)
	w.library.err = errNotTheCreator
	id := w.claimed(overwrite(anID))
	w.want("report", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"failed"`, `only its creator may overwrite`)
}

// bundled returns the report of a skill.
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
	kept := []string{"what?.md", "a:b.md", "aux.md", "Notes.md", "notes.md", "./c.md", "a//b.md",
		".hidden/x", "x/../y.md", "f\x00.md", "sub/SKILL.md", `back\slash.md`}
	dropped := []string{"SKILL.md", "./skill.md", "", ".", "/etc/x", `C:\x`, "../x", "a/../../b",
		`a\..\..\b`, "c.md"}
	for _, path := range slices.Concat(kept, dropped) {
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

func TestTheLogNamesOnlySomeOfManyDroppedFiles(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	b := skills.Bundle{Name: "n", Content: "c", Files: make([]skills.BundleFile, 10_000)}
	w.want("report", w.report(imports, id, bundled(t, b)), 200)
	w.want("read", w.read(imports, id), 200, `"status":"completed"`, `"left_out_count":10000`)
	log := w.log.String()
	named := strings.Count(log, "a file of an imported skill is dropped")
	if named != skills.MaxOmissions || !strings.Contains(log, `"count":9900`) {
		t.Errorf("the log names %d of 10,000 dropped files", named)
	}
}

func TestASkillWithoutANameHasThatOfItsFolder(t *testing.T) {
	w := newWorld(t)
	for _, key := range []string{"a/one", "a/two"} {
		id := w.claimed(`{"skill_key":"` + key + `"}`)
		w.want("report", w.report(imports, id, bundle("")), 200)
		w.want(key, w.read(imports, id), 200, `"status":"completed"`, `"name":"`+key[2:]+`"`)
	}
}

func TestASkillOverALimitIsRefusedAndFails(t *testing.T) {
	w := newWorld(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	for reason, b := range map[string]skills.Bundle{
		"name has over 255 bytes":         {Name: long(256)},
		"description has over 8192 bytes": {Name: "n", Description: long(8193)},
		"source_path has over 4096 bytes": {Name: "n", SourcePath: long(4097)},
		"provider has over 64 bytes":      {Name: "n", Provider: long(65)},
	} {
		b.Content = "c"
		id := w.claimed(`{"skill_key":"k"}`)
		w.want(reason, w.report(imports, id, bundled(t, b)), 413, reason, `"code":"too_large"`)
		w.want(reason, w.read(imports, id), 200, `"status":"failed"`, reason)
	}
	id := w.claimed(`{"skill_key":"k"}`)
	many := skills.Bundle{Name: "n", Content: "c"}
	for i := range 10_000 {
		many.Files = append(many.Files, skills.BundleFile{Path: fmt.Sprint(i)})
	}
	w.want("10,000 files", w.report(imports, id, bundled(t, many)), 200)
	w.want("10,000 files", w.read(imports, id), 200, `"status":"failed"`, "256")
	if n := w.library.saved(); n != 0 {
		t.Errorf("%d skills over a limit are saved", n)
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
	for _, field := range []string{
		"id", "skill_id", "path", "content", "created_at", "updated_at"} {
		if _, ok := file[field]; !ok {
			t.Errorf("a file lacks %s: %v", field, file)
		}
	}
	if file["skill_id"] != skill["id"] {
		t.Errorf("the file is of skill %v, want %v", file["skill_id"], skill["id"])
	}
}

func TestASkillWithoutACreatorHasANull(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) { c.Access = anyone{} })
	id := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, id, bundle("n"))
	w.want("read", w.read(imports, id), 200, `"created_by":null`)
}

func TestTheDaemonRetriesAReportIfTheLibraryIsAway(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.library.err = errors.New("secret: no disk")
	w.want("report", w.report(imports, id, bundle("n")), 500, `{"error":"internal error"}`)
	w.want("still running", w.read(imports, id), 200, `"status":"running"`)
	w.library.err = nil
	w.want("again", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"completed"`)
}

func TestTheSkillOfARefusedImportIsTakenBack(t *testing.T) {
	w := newWorld(t)
	id := w.claimed(`{"skill_key":"k"}`)
	w.library.afterSave = func() { w.timeOut(id) }
	w.want("report", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"timeout"`)
	if n := w.library.saved(); n != 0 {
		t.Errorf("the library has %d skills after the import was refused, want none", n)
	}
}

func TestAnOverwriteIsNeverTakenBack(t *testing.T) {
	w := newWorld(t)
	first := w.claimed(`{"skill_key":"k"}`)
	w.report(imports, first, bundle("n"))
	skill, _ := w.read(imports, first).fields()["skill"].(map[string]any)
	saved, _ := skill["id"].(string)
	id := w.claimed(overwrite(saved))
	w.library.afterSave = func() { w.timeOut(id) }
	w.want("report", w.report(imports, id, bundle("n")), 200)
	if n := w.library.saved(); n != 2 {
		t.Errorf("the library has %d saves, want both", n)
	}
}

// unsure is a backend whose next End fails if fail is set. If happen is set, it ends the request
// all the same.
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

// The node dies before it completes the request, or does not learn the outcome. In both cases the
// next report leaves one skill and a completed request.
func TestAnImportCutShortIsFinishedByTheNextReport(t *testing.T) {
	for _, happened := range []bool{false, true} {
		fail, happen := false, happened
		w := newWorldOn(t, unsure{memory.New(), &fail, &happen})
		id := w.claimed(`{"skill_key":"k"}`)
		fail = true
		w.want("report", w.report(imports, id, bundle("n")), 500)
		if n := w.library.saved(); n != 1 {
			t.Fatalf("%d skills are saved before the next report, want one", n)
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
	w.wantTooLarge(id, 2000)
}

// wantTooLarge checks that a report with an output of n bytes is refused and fails the ping.
func (w *world) wantTooLarge(id string, n int) {
	w.Helper()
	large := `{"status":"completed","output":"` + strings.Repeat("x", n) + `"}`
	w.want("report", w.report("/ping", id, large), 413)
	w.want("read", w.read("/ping", id), 200, `"status":"failed"`,
		`"error":"the runtime's report is too large"`)
}

func TestAnAnswerOverTheStoresLimitFailsItsRequest(t *testing.T) {
	w := newWorld(t)
	id := w.ask("/ping", "")
	w.heartbeat(beat)
	w.wantTooLarge(id, 17<<20)
}

// A library may return a text that the codec does not take.
func TestAnAnswerThatCannotBeStoredFailsItsRequest(t *testing.T) {
	w := newWorld(t, func(c *skillshttp.Config) {
		var err error
		c.Stores.Imports, err = pending.New(c.Stores.Backend(), codec.JSON[skills.Import](),
			skills.ImportPolicy(), pending.AlsoReads(codec.Msgpack[skills.Import]()))
		if err != nil {
			t.Fatal(err)
		}
	})
	id := w.claimed(`{"skill_key":"k"}`)
	w.library.byRequest[id] = skills.Skill{ID: "1", Name: "\xff"}
	w.want("report", w.report(imports, id, bundle("n")), 400, `"code":"invalid"`)
	w.want("read", w.read(imports, id), 200, `"status":"failed"`,
		`"error":"the runtime's report cannot be stored"`)
	if n := w.library.saved(); n != 0 {
		t.Errorf("the library has %d skills after the import failed, want none", n)
	}
}

// The node dies before it completes the request. The request times out before the daemon's next
// report.
func TestASkillIsTakenBackByALateNextReport(t *testing.T) {
	fail, happen := false, false
	w := newWorldOn(t, unsure{memory.New(), &fail, &happen})
	id := w.claimed(`{"skill_key":"k"}`)
	fail = true
	w.want("report", w.report(imports, id, bundle("n")), 500)
	w.timeOut(id)
	w.want("again", w.report(imports, id, bundle("n")), 200)
	w.want("read", w.read(imports, id), 200, `"status":"timeout"`)
	if n := w.library.saved(); n != 0 {
		t.Errorf("the library has %d skills after the import timed out, want none", n)
	}
}

package skillshttp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/skills/skillshttp"
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

func TestBundlesThatLeadOutsideAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"../x", "/etc/x", `a\\..\\b`, "a/../../b", "C:/x", "SKILL.md", ""} {
		id := w.claimed(`{"skill_key":"k"}`)
		report := fmt.Sprintf(`{"status":"completed","skill":{"name":"n","content":"c","files":[{"path":"%s","content":"x"}]}}`, path)
		w.want(path, w.report(imports, id, report), 200)
		w.want(path, w.read(imports, id), 200, `"status":"failed"`, "cannot be imported")
	}
	many := strings.TrimSuffix(strings.Repeat(`{"path":"f","content":""},`, 10_000), ",")
	id := w.claimed(`{"skill_key":"k"}`)
	w.want("10,000 files", w.report(imports, id, `{"status":"completed","skill":{"name":"n","content":"c","files":[`+many+`]}}`), 200)
	w.want("10,000 files", w.read(imports, id), 200, `"status":"failed"`, "256")
	if n := w.library.saved(); n != 0 {
		t.Errorf("%d of them were saved", n)
	}
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

// A node that dies between saving and completing, and a completion of unknown outcome, look the same to the next
// report: one skill and a completed request.
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

// The completion is cut short, as by a kill, and the request times out before the daemon's next report.
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

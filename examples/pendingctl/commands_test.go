package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestEveryCommandShowsItsAnswer(t *testing.T) {
	w := newWorld(t).withDaemon()
	for command, says := range map[string]string{
		"skills list":       "a    2      claude    A skill  long long",
		"ping":              "the runtime is up: fine [31m \\u202e! (7ms)\n",
		"update 1.2":        "updated to 1.2: now at 1.2\n\tdone\\u001b[31m\n",
		"models":            "m   M      -         yes\n",
		"skills import a b": "completed",
	} {
		w.want(w.call(strings.Fields(command)...), exitOK, says)
	}
}

func TestEveryCommandSpeaksJSON(t *testing.T) {
	w := newWorld(t).withDaemon()
	for _, command := range []string{"skills list", "ping", "update 1.2", "models"} {
		r := w.call(append(strings.Fields(command), "-o", "json")...)
		w.want(r, exitOK)
		record := decode[struct{ Status, ID string }](t, r.stdout)
		if record.Status != "completed" || record.ID == "" {
			t.Errorf("%s: got %+v, want completed and an id", command, record)
		}
	}
}

func TestImportsReportEachResult(t *testing.T) {
	w := newWorld(t).withDaemon()
	r := w.call("-o", "json", "skills", "import", "a", "bad", "c")
	w.want(r, exitFailed, "import of bad: request ", "failed: no such [31mskill")
	type object struct {
		Key     string `json:"skill_key"`
		Error   string
		Request struct{ Status string }
	}
	objects := decode[[]object](t, r.stdout)
	if len(objects) != 3 {
		t.Fatalf("got %+v", objects)
	}
	good, bad := objects[0], objects[1]
	if good.Key != "a" || good.Request.Status != "completed" || good.Error != "" {
		t.Errorf("got %+v", good)
	}
	if bad.Request.Status != "failed" || bad.Error == "" {
		t.Errorf("got %+v", bad)
	}
	table := w.call("skills", "import", "bad2", "d")
	w.want(table, exitFailed, "KEY", "STATUS")
	status := func(line string) string { return strings.Fields(line)[1] }
	lines := strings.Split(table.stdout, "\n")
	if status(lines[1]) != "failed" || status(lines[2]) != "completed" {
		t.Errorf("got\n%s", table.stdout)
	}
}

func TestManyImportsAtOnce(t *testing.T) {
	w := newWorld(t).withDaemon()
	args := []string{"skills", "import"}
	for i := range 3 * atOnce {
		args = append(args, fmt.Sprint("k", i))
	}
	r := w.call(args...)
	w.want(r, exitOK)
	if n := strings.Count(r.stdout, "completed"); n != 3*atOnce {
		t.Errorf("%d imports are shown as completed, want %d", n, 3*atOnce)
	}
}

func TestAConflictSaysHowToGoOn(t *testing.T) {
	w := newWorld(t).withDaemon()
	w.want(w.call("skills", "import", "a"), exitOK)
	r := w.call("skills", "import", "a")
	w.want(r, exitFailed, "conflict", "replace it with --overwrite ")
	_, id, _ := strings.Cut(r.stderr, "--overwrite ")
	id, _, _ = strings.Cut(id, ",")
	w.want(w.call("skills", "import", "a", "--overwrite", id), exitOK, id)
	w.want(w.call("skills", "import", "a", "--name", "Another"), exitOK, "Another")
}

func TestWhatTheServerRefuses(t *testing.T) {
	w := newWorld(t)
	w.want(w.call("-runtime", "phone", "ping"), exitFailed, "404", "not found")
	w.want(w.call("update", "1", "-token", "member"), exitFailed, "403", "not allowed")
	w.want(w.call("skills", "import", "x", "-token", "nobody"), exitFailed, "404", "refused")
	w.presence.online = false
	w.want(w.call("skills", "list"), exitFailed, "the runtime is offline")
	w.want(w.call("update", "1", "-timeout", "1ms"), exitFailed)
}

func TestNobodyAnswersInTime(t *testing.T) {
	onPipes(t, func(t *testing.T, p *pipes) {
		w, handler := newNode(t)
		p.serve(t, handler)
		w.url = onlyURL
		w.want(w.call("update", "1", "-timeout", "30s"), exitFailed,
			"no answer in time", "is still pending")
		w.want(w.call("update", "2"), exitFailed,
			"409", "an update is already in progress for this runtime (request ")
		r := w.call("ping", "-timeout", "30s", "-o", "json")
		w.want(r, exitFailed, "ping: pending, until the runtime polls")
		if !strings.Contains(r.stdout, `"status": "pending"`) {
			t.Errorf("the last state is not on stdout: %s", r.stdout)
		}
	})
}

func TestNoServerListens(t *testing.T) {
	onPipes(t, func(t *testing.T, _ *pipes) {
		w := &world{T: t, url: onlyURL}
		w.want(w.call("-timeout", "20s", "ping"), exitTrouble,
			"no answer in time", "connection refused")
		w.want(w.call("ls", "--store", "jobs", "--timeout", "20s"), exitTrouble,
			"connection refused")
	})
}

func TestAnInterrupt(t *testing.T) {
	w := newWorld(t)
	for _, command := range []string{"ping", "skills import a b"} {
		ctx, cancel := context.WithCancel(t.Context())
		w.before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				cancel()
			}
			return false
		}
		w.want(w.callIn(ctx, strings.Fields(command)...), exitInterrupted,
			"interrupted; request ", "continues")
	}
}

func TestReadsAreRepeatedWhenTheServerIsInTrouble(t *testing.T) {
	w := newWorld(t).withDaemon()
	var reads atomic.Int32
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || reads.Add(1) > 3 {
			return false
		}
		if reads.Load() == 2 {
			panic(http.ErrAbortHandler) // the connection breaks off
		}
		status := http.StatusBadGateway
		if reads.Load() == 3 {
			status = http.StatusServiceUnavailable // the load balancer has no node
		}
		rw.WriteHeader(status)
		return true
	}
	w.want(w.call("skills", "import", "a"), exitOK, "trying again", "502", "503")
}

func TestAnImportIsAskedForOnceWhenItsOutcomeIsUnknown(t *testing.T) {
	w := newWorld(t).withDaemon()
	var posts atomic.Int32
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || posts.Add(1) > 1 {
			return false
		}
		panic(http.ErrAbortHandler)
	}
	w.want(w.call("skills", "import", "a"), exitTrouble, "the server may have made the request")
	if posts.Load() != 1 {
		t.Errorf("the program sent %d requests, want one", posts.Load())
	}
	posts.Store(0)
	w.want(w.call("ping"), exitOK, "trying again")
}

func TestTooManyRequestsIsRetried(t *testing.T) {
	w := newWorld(t).withDaemon()
	var posts atomic.Int32
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || posts.Add(1) > 1 {
			return false
		}
		rw.Header().Set("Retry-After", "0")
		rw.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	w.want(w.call("skills", "import", "a"), exitOK, "429")
}

func TestAServerThatIsNoAPINode(t *testing.T) {
	w := newWorld(t)
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		_, _ = rw.Write([]byte("<html>"))
		return true
	}
	w.want(w.call("update", "1"), exitTrouble, "is it an API node?")
}

func TestAListSaysWhatItLeavesOut(t *testing.T) {
	w := newWorld(t).withDaemon()
	w.want(w.call("skills", "list"), exitOK, "120 files and folders were left out; -v lists them")
	w.want(w.call("skills", "list", "-v"), exitOK, "~/s/a/logo.png  not a text file", "119 more")
}

func TestALineIsCutToTheTerminal(t *testing.T) {
	w := newWorld(t)
	key := strings.Repeat("漢", 60) + strings.Repeat("k", 60)
	r := w.interruptedAt("import of", "skills", "import", key)
	drawn := false
	for line := range strings.SplitSeq(r.stderr, clearsLine) {
		line, _, _ = strings.Cut(line, "\n")
		if strings.HasPrefix(line, "pendingctl") {
			continue
		}
		drawn = drawn || strings.Contains(line, "import of")
		if columns := strings.Count(line, "漢") + len([]rune(line)); columns >= 80 {
			t.Errorf("a line has %d columns: %s", columns, line)
		}
	}
	if !drawn {
		t.Errorf("stderr has no line with the state: %q", r.stderr)
	}
}

func TestImportsThatWereNeverAsked(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	var reads atomic.Int32
	w.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && reads.Add(1) == atOnce {
			cancel()
		}
		return false
	}
	args := []string{"skills", "import"}
	for i := range atOnce + 8 {
		args = append(args, fmt.Sprint("k", i))
	}
	r := w.callIn(ctx, args...)
	w.want(r, exitInterrupted, "not asked")
	notAsked, refused := strings.Count(r.stdout, "not asked"), strings.Count(r.stdout, "refused")
	if notAsked != 8 || refused != 0 {
		t.Errorf("%d rows have not asked and %d refused, want 8 and 0:\n%s",
			notAsked, refused, r.stdout)
	}
}

func TestATerminalHasOneLineThatIsOverwritten(t *testing.T) {
	w := newWorld(t)
	r := w.interruptedAt("requests: 2 pending", "skills", "import", "a", "b")
	w.want(r, exitInterrupted, clearsLine, "requests: 2 pending")
	if strings.Contains(r.stderr, "import of a: pending") {
		t.Error("the terminal also shows a line for each change")
	}
}

func TestTheCommandLine(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"--help", 0, "Exits with 0"},
		{"help", 0, "Requests of any store:"},
		{"skills --help", 0, "import      import skills from the runtime"},
		{"skills import --help", 0, "Usage:\n  pendingctl skills import KEY... [flags]"},
		{"ping -h", 0, "Usage:\n  pendingctl ping [flags]"},
		{"", 2, "no command"},
		{"skills", 2, `no command given after "pendingctl skills"`},
		{"skills lst", 2, `unknown command "skills lst"`},
		{"-nonsense ping", 2, "nonsense"},
		{"ping -nonsense", 2, "nonsense"},
		{"ping x", 2, `unexpected argument "x"`},
		{"update", 2, "VERSION is missing"},
		{"update 1 2", 2, `unexpected argument "2"`},
		{"skills import", 2, "KEY is missing"},
		{"skills import a b -name n", 2, "single KEY"},
		{"skills import a a", 2, "twice"},
		{"ping -o xml", 2, "xml"},
		{"ping --token a\u0007b", 2, "a control character"},
		{"completion", 2, "no command"},
		{"completion tcsh", 2, `unknown command "completion tcsh"`},
		{"completion bash zsh", 2, `unexpected argument "zsh"`},
		{"ping -timeout 0", 2, "-timeout"},
		{"ping -server nonsense", 2, "-server"},
		{"ping -runtime=", 2, "PENDINGCTL_RUNTIME"},
		{"ping -token=", 2, "PENDINGCTL_TOKEN"},
		{"update -timeout 50ms -- -1", 1, "update to -1"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			w := *w
			w.T = t
			w.want(w.call(strings.Fields(tc.args)...), tc.code, tc.says)
		})
	}
}

// Package docs_test checks the documents against the code: their links, and all names in them,
// exist.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLinesHaveAtMost120Characters(t *testing.T) {
	for _, d := range documents(t) {
		for _, l := range d.lines {
			if !l.table && l.fence != "mermaid" && utf8.RuneCountInString(l.text) > 120 {
				t.Errorf("%s:%d has over 120 characters", d.path, l.number)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(d.prose(), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := d.path
			if file != "" {
				target = filepath.Join(filepath.Dir(d.path), file)
			}
			if !exists(target) {
				t.Errorf("%s: there is no %s", d.path, m[1])
			} else if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s: %s has no heading %q", d.path, target, anchor)
			}
		}
	}
}

var (
	path      = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)*/?$`)
	fileNames = regexp.MustCompile(`\.(go|lua|sql|yaml|yml|md|json|mjs|sh|mod|work|txt)$`)
)

// A document may shorten the path of a file, so the end of a path is enough. Files that git ignores
// are written by commands.
func TestPathsExist(t *testing.T) {
	files, ignored := files(t), read(t, "../.gitignore")
	for _, d := range documents(t) {
		for _, span := range d.spans() {
			top, _, inside := strings.Cut(span, "/")
			name := "/" + strings.TrimSuffix(span, "/")
			isFile := fileNames.MatchString(span)
			if !path.MatchString(span) || !isFile && !(inside && exists("../"+top)) {
				continue
			}
			known := slices.ContainsFunc(files, func(f string) bool {
				return strings.HasSuffix("/"+f, name) || strings.HasPrefix("/"+f, name+"/")
			})
			if !known && !strings.Contains(ignored, name+"\n") {
				t.Errorf("%s: there is no %s", d.path, span)
			}
		}
	}
}

var function = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w+`)

func TestTestsThatAreNamedExist(t *testing.T) {
	known := functions(t)
	for _, d := range documents(t) {
		for _, span := range d.spans() {
			for _, name := range function.FindAllString(span, -1) {
				if !known[name] && !strings.Contains(span, ".") {
					t.Errorf("%s: there is no %s", d.path, name)
				}
			}
		}
	}
}

// The tests of goredis run with the rights that the README grants.
func TestTheACLEqualsTheTestedOne(t *testing.T) {
	right := regexp.MustCompile(`\+[a-z|]+`)
	_, acl, _ := strings.Cut(read(t, "../README.md"), "    ACL SETUSER")
	acl, _, _ = strings.Cut(acl, "\n\n")
	_, tested, _ := strings.Cut(read(t, "../backends/goredis/restricted_test.go"), "const (")
	tested, _, _ = strings.Cut(tested, "\n)")
	documented, wanted := right.FindAllString(acl, -1), right.FindAllString(tested, -1)
	for _, r := range wanted {
		if !slices.Contains(documented, r) {
			t.Errorf("the README's ACL lacks %s", r)
		}
	}
	for _, r := range documented {
		if !slices.Contains(wanted, r) && r != "+scan" { // of Lister, which has a test of its own
			t.Errorf("the README's ACL has %s, which no test needs", r)
		}
	}
	if len(documented) == 0 || len(wanted) == 0 {
		t.Error("no rights found")
	}
}

var (
	metric = regexp.MustCompile(`pendingq\.[a-z_]+\.[a-z_.]+`)
	alert  = regexp.MustCompile(`\bPendingq[A-Z]\w+`)
	route  = regexp.MustCompile(`^(GET|POST|PUT|DELETE) (/[^\s?]+)`)
)

func TestMetricsAlertsAndRoutesExist(t *testing.T) {
	metrics := read(t, "../pending/pendingotel/doc.go")
	alerts := read(t, "alerts.yaml")
	routes := sources(t, "../skills/skillshttp") + sources(t, "../examples/server") +
		sources(t, "../backends/remote")
	for _, d := range documents(t) {
		for _, span := range d.spans() {
			if name := metric.FindString(span); !strings.Contains(metrics, name) {
				t.Errorf("%s: there is no metric %s", d.path, name)
			}
			m := route.FindStringSubmatch(span)
			if m != nil && !strings.Contains(routes, m[0]+`"`) {
				t.Errorf("%s: there is no route %s", d.path, m[0])
			}
		}
		for _, name := range alert.FindAllString(d.prose(), -1) {
			if !strings.Contains(alerts, "alert: "+name+"\n") {
				t.Errorf("%s: there is no alert %s", d.path, name)
			}
		}
	}
	operating := read(t, "operate.md")
	for _, name := range alert.FindAllString(alerts, -1) {
		if !strings.Contains(operating, name) {
			t.Errorf("operate.md lacks the alert %s", name)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

package docs_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// command is a command of a document.
type command struct {
	where string // the document or the Go file
	dir   string // where it runs
	text  string
}

var (
	isCommand  = regexp.MustCompile(`^([A-Z_]+=\S+ )*(go (test|run)|make|bash) `)
	assignment = regexp.MustCompile(`^[A-Z_]+=`)
	words      = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// commands are the commands of all documents, and of the comments of Go files. In a table a bar of
// a command is written "\|".
func commands(t *testing.T) (all []command) {
	add := func(where, dir, text string) {
		if text, _, _ = strings.Cut(text, "  #"); isCommand.MatchString(text + " ") {
			all = append(all, command{where, dir, strings.ReplaceAll(text, `\|`, "|")})
		}
	}
	for _, d := range documents(t) {
		dir := ".."
		for _, l := range d.lines {
			if to, ok := strings.CutPrefix(l.text, "    cd "); ok && l.block {
				dir = filepath.Join("..", to)
			} else if l.block {
				add(d.path, dir, strings.TrimSpace(l.text))
			} else if l.text != "" {
				dir = ".."
			}
		}
		for _, span := range d.spans() {
			add(d.path, "..", span)
		}
	}
	for _, file := range files(t) {
		if !strings.HasSuffix(file, ".go") {
			continue
		}
		for l := range strings.SplitSeq(read(t, "../"+file), "\n") {
			if text, ok := strings.CutPrefix(l, "//\t"); ok && isCommand.MatchString(text) {
				dir := ".."
				if !strings.Contains(text, " ./") && !strings.Contains(text, "work") {
					dir = filepath.Join("..", filepath.Dir(file)) // it tests its own package
				}
				add(file, dir, text)
			}
		}
	}
	return all
}

func TestCommandsNameThingsThatExist(t *testing.T) {
	all := commands(t)
	if len(all) < 50 {
		t.Errorf("found %d commands only", len(all))
	}
	for _, c := range all {
		var args []string
		for _, w := range words.FindAllString(c.text, -1) {
			if args != nil || !assignment.MatchString(w) {
				args = append(args, strings.Trim(w, `'"`))
			}
		}
		switch args[0] + " " + slices.Concat(args, []string{""})[1] {
		case "go test":
			checkTest(t, c, args[2:])
		case "go run":
			checkRun(t, c, args[2:])
		default:
			checkScript(t, c, args)
		}
	}
}

// checkScript checks a command "make TARGET" or "bash FILE".
func checkScript(t *testing.T, c command, args []string) {
	target := regexp.MustCompile(`(?m)^(\w+):`)
	for _, arg := range args[1:] {
		switch {
		case args[0] == "make" && !slices.ContainsFunc(
			target.FindAllStringSubmatch(read(t, "../Makefile"), -1),
			func(m []string) bool { return m[1] == arg }):
			t.Errorf("%s: %q: there is no target %s", c.where, c.text, arg)
		case args[0] == "bash" && arg == args[1] && !exists(filepath.Join(c.dir, arg)):
			t.Errorf("%s: %q: there is no %s", c.where, c.text, arg)
		}
	}
}

// module is the folder of the module that has the document. In some documents, folders are relative
// to it.
func (c command) module() string {
	dir := filepath.Dir(c.where)
	if !strings.HasPrefix(c.where, "..") {
		dir = filepath.Join("..", dir)
	}
	for dir != ".." && !exists(filepath.Join(dir, "go.mod")) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// checkRun checks a command "go run FOLDER FLAGS".
func checkRun(t *testing.T, c command, args []string) {
	if len(args) == 0 || strings.Contains(args[0], "@") {
		return
	}
	source := sources(t, filepath.Join(c.dir, args[0]))
	if source == "" {
		source = sources(t, filepath.Join(c.module(), args[0]))
	}
	if !strings.Contains(source, "\nfunc main() {") {
		t.Errorf("%s: %q: %s is no program", c.where, c.text, args[0])
	}
	for _, arg := range args[1:] {
		if name, ok := strings.CutPrefix(arg, "-"); ok && name != "" && !declares(source, name) {
			t.Errorf("%s: %q: there is no flag %s", c.where, c.text, arg)
		}
	}
}

// declares reports whether a source declares a flag.
func declares(source, name string) bool {
	const call = `\b(Bool|Int|String|Duration|Func)(Var)?\((&?[\w.]+, )?`
	return regexp.MustCompile(call + `"` + regexp.QuoteMeta(name) + `"`).MatchString(source)
}

// goFlags are the flags of go test and of test libraries that documents use. They are true if a
// value follows.
var goFlags = map[string]bool{"v": false, "race": false, "run": true, "fuzz": true, "bench": true,
	"benchtime": true, "timeout": true, "count": true, "fuzztime": true, "fuzzminimizetime": true,
	"rapid.checks": true}

// kinds are how the names of the functions begin that a flag of go test selects.
var kinds = map[string]string{"run": "Test", "fuzz": "Fuzz", "bench": "Benchmark"}

// checkTest checks a command "go test FLAGS FOLDERS", whose folders may also come first.
func checkTest(t *testing.T, c command, args []string) {
	flags, folders := map[string]string{}, []string{}
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		name, value, _ := strings.Cut(name, "=")
		valued, known := goFlags[name]
		switch {
		case !isFlag:
			folders = append(folders, args[i])
			continue
		case (valued || !known) && value == "" && i+1 < len(args) && args[i+1][0] != '-':
			i++
			value = args[i]
		}
		flags[name] = value
	}
	var source string
	for _, folder := range slices.Concat(folders, []string{"."}[min(1, len(folders)):]) {
		tests := testsOf(t, filepath.Join(c.dir, strings.Replace(folder, "work", "./...", 1)))
		if tests == "" {
			t.Errorf("%s: %q: %s has no tests", c.where, c.text, folder)
		}
		source += tests
	}
	for name, value := range flags {
		if _, known := goFlags[name]; !known && !declares(source, name) {
			t.Errorf("%s: %q: there is no flag -%s", c.where, c.text, name)
		}
		if kind := kinds[name]; kind != "" {
			checkPattern(t, c, source, kind, value)
		}
	}
}

// testsByFolder holds the results of testsOf, since many commands name the same folders.
var testsByFolder = map[string]string{}

// testsOf returns the tests of a folder, or for "folder/..." of all folders below it.
func testsOf(t *testing.T, folder string) string {
	if _, ok := testsByFolder[folder]; !ok {
		testsByFolder[folder] = findTests(t, folder)
	}
	return testsByFolder[folder]
}

func findTests(t *testing.T, folder string) (source string) {
	top, all := strings.CutSuffix(filepath.ToSlash(folder), "/...")
	test := func(name string) bool { return strings.HasSuffix(name, "_test.go") }
	if !all {
		return gofiles(t, folder, test)
	}
	below := strings.TrimPrefix(strings.TrimPrefix(top, ".."), "/")
	seen := map[string]bool{}
	for _, file := range files(t) {
		dir := filepath.Dir(file)
		if strings.HasPrefix(dir+"/", below) && test(file) && !seen[dir] {
			seen[dir] = true
			source += gofiles(t, filepath.Join("..", dir), test)
		}
	}
	return source
}

var alternatives = regexp.MustCompile(`(\([^)]*\)|[^|(])+`)

// checkPattern checks that each alternative of a pattern matches a function, and the part behind a
// slash the name of a subtest. The patterns "-" and "^$" match nothing on purpose.
func checkPattern(t *testing.T, c command, source, kind, pattern string) {
	if pattern == "-" || pattern == "^$" {
		return
	}
	pattern, sub, _ := strings.Cut(pattern, "/")
	for _, alternative := range alternatives.FindAllString(pattern, -1) {
		matches, err := regexp.Compile(alternative)
		declared := regexp.MustCompile(`(?m)^func (`+kind+`\w+)`).FindAllStringSubmatch(source, -1)
		if err != nil || !slices.ContainsFunc(declared,
			func(m []string) bool { return matches.MatchString(m[1]) }) {
			t.Errorf("%s: %q: no %s matches %s", c.where, c.text, kind, alternative)
		}
	}
	if sub = strings.Trim(sub, "^$"); sub != "" && !strings.Contains(source, `"`+sub+`"`) {
		t.Errorf("%s: %q: there is no subtest %s", c.where, c.text, sub)
	}
}

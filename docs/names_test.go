package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// packages are the folders of the packages that documents name, by the packages' names.
var packages = map[string]string{"pending": "pending", "dashboard": "pending/dashboard",
	"pendingotel": "pending/pendingotel", "codec": "codec", "backends": "backends",
	"backendtest": "backends/backendtest", "memory": "backends/memory",
	"goredis": "backends/goredis", "postgres": "backends/postgres", "remote": "backends/remote",
	"skills": "skills", "folders": "skills/folders", "skillshttp": "skills/skillshttp",
	"daemon": "skills/daemon", "wire": "skills/wire", "catalogue": "skills/catalogue"}

// configs are types whose fields documents name without the package.
var configs = regexp.MustCompile(
	`\b(Policy|Options|Config|WorkerOptions|ListOptions|MigrateOptions)\.([A-Z]\w*)`)

var qualified = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)

func TestNamesOfTheCodeExist(t *testing.T) {
	declared, fields := map[string]bool{}, map[string]bool{}
	for name, folder := range packages {
		declarations(t, filepath.Join("..", folder), func(names ...string) {
			declared[name+"."+strings.Join(names, ".")] = true
			fields[strings.Join(names, ".")] = true
		})
	}
	for _, d := range documents(t) {
		for _, text := range append(d.spans(), d.goCode()) {
			for _, m := range qualified.FindAllString(text, -1) {
				pkg, _, _ := strings.Cut(m, ".")
				if packages[pkg] != "" && !declared[m] && !fileNames.MatchString(text) {
					t.Errorf("%s: there is no %s", d.path, m)
				}
			}
			for _, m := range configs.FindAllString(text, -1) {
				if !fields[m] {
					t.Errorf("%s: there is no %s", d.path, m)
				}
			}
		}
	}
}

// goCode is the Go code between fences.
func (d document) goCode() string {
	var b strings.Builder
	for _, l := range d.lines {
		if l.fence == "go" {
			b.WriteString(l.text + "\n")
		}
	}
	return b.String()
}

// declarations calls found with each exported name of a package, and with each exported type and
// its field or method.
func declarations(t *testing.T, folder string, found func(names ...string)) {
	for _, file := range parsed(t, folder) {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					found(d.Name.Name)
				} else {
					found(receiver(d.Recv.List[0].Type), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					specified(spec, found)
				}
			}
		}
	}
}

func specified(spec ast.Spec, found func(names ...string)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			found(name.Name)
		}
	case *ast.TypeSpec:
		found(s.Name.Name)
		var members *ast.FieldList
		switch typ := s.Type.(type) {
		case *ast.StructType:
			members = typ.Fields
		case *ast.InterfaceType:
			members = typ.Methods
		default:
			return
		}
		for _, member := range members.List {
			for _, name := range member.Names {
				found(s.Name.Name, name.Name)
			}
		}
	}
}

// receiver is the name of a receiver's type.
func receiver(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}

var declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)`)

// functions are the names of all tests, fuzz tests and benchmarks.
func functions(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for _, m := range declaredTest.FindAllStringSubmatch(testsOf(t, "../..."), -1) {
		names[m[1]] = true
	}
	return names
}

// parsed are the Go files of a folder, tests left out.
func parsed(t *testing.T, folder string) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no Go files in %s: %v", folder, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

package main

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const deploy = "../../docs/deploy"

var (
	variables = regexp.MustCompile(`PENDINGQ_[A-Z]+`)
	commands  = regexp.MustCompile("(?:pendingq-server|ENTRYPOINT|`)(.*)")
	flagWords = regexp.MustCompile("[ `\"]-([a-z]+)")
)

func TestEveryFlagAndVariableOfTheDeploymentFilesExists(t *testing.T) {
	known := map[string]bool{}
	newFlags(new(options)).VisitAll(func(f *flag.Flag) {
		known[f.Name], known[variable(f.Name)] = true, true
	})
	found := 0
	check := func(path, name string) {
		if found++; !known[name] {
			t.Errorf("%s: the server has no %s", path, name)
		}
	}
	err := fs.WalkDir(os.DirFS(deploy), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(deploy, path))
		for _, name := range variables.FindAllString(string(text), -1) {
			check(path, name)
		}
		for _, command := range commands.FindAllString(string(text), -1) {
			for _, word := range flagWords.FindAllStringSubmatch(command, -1) {
				check(path, word[1])
			}
		}
		return err
	})
	if err != nil || found < 15 {
		t.Errorf("found %d flags and variables, %v", found, err)
	}
}

func TestTheDeploymentFilesAreRead(t *testing.T) {
	o, err := parseIn(nil, "-demo", "-config", filepath.Join(deploy, "config.yaml"))
	if err != nil || len(o.stores) != 1 || o.stores[0].MaxAttempts != 3 || o.drain == 0 {
		t.Errorf("config.yaml: got %+v, %v", o, err)
	}
	if _, err := readTokens(filepath.Join(deploy, "tokens.example.yaml")); err != nil {
		t.Error(err)
	}
	var compose struct {
		Services map[string]struct {
			Environment map[string]string
			Volumes     []string
		}
	}
	readYAML(t, "compose.yaml", &compose)
	for _, mount := range compose.Services["prometheus"].Volumes {
		from, _, _ := strings.Cut(mount, ":")
		if _, err := os.Stat(filepath.Join(deploy, from)); err != nil {
			t.Errorf("compose.yaml: %v", err)
		}
	}
	var prometheus struct {
		Scrape []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus.yaml", &prometheus)
	for _, target := range prometheus.Scrape[0].Static[0].Targets {
		name, port, _ := strings.Cut(target, ":")
		if _, found := compose.Services[name]; !found || port != "9464" {
			t.Errorf("prometheus.yaml scrapes %s, which compose.yaml does not have", target)
		}
	}
}

func readYAML(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err == nil {
		err = yaml.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

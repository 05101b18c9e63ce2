package main

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	main()
	// Output:
	// home completed 100
	// archive cancelled 40 enough for today
}

// The README shows this program from its payload on, so that what it shows compiles and runs.
func TestTheREADMEShowsThisProgram(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(source), "\n\n// Backup is")
	shown, _, _ = strings.Cut(shown, "\nfunc check")
	if shown == "" || !strings.Contains(string(readme), strings.TrimSpace(shown)) {
		t.Error("the README's tour is not this program any more")
	}
}

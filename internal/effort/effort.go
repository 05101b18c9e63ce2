// Package effort says how much a slow test does. By default such a test is short: it has fewer
// seeds, calls or cells of a matrix, often another sample each time. CI runs it in full, once: with
// the race detector if that may find something, otherwise without it, which is many times quicker.
package effort

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// Env names the environment variable that makes slow tests run in full, if it is not empty.
const Env = "PENDINGQ_FULL"

// Plain is for tests in which no goroutines of this module meet. It returns all if tests run in
// full without the race detector, otherwise some.
func Plain[T any](some, all T) T { return choose(!Race, some, all) }

// Racing is for tests of concurrent calls. It returns all if tests run in full with the race
// detector, otherwise some.
func Racing[T any](some, all T) T { return choose(Race, some, all) }

// choose reads the variable in each call: go test notices only what is read while tests run, and
// would otherwise take the cached result of a short run for one in full.
func choose[T any](here bool, some, all T) T {
	if here && os.Getenv(Env) != "" {
		return all
	}
	return some
}

// Third returns every third element of a list, from a random one on, so many runs have all.
func Third[T any](all []T) (some []T) {
	for i := rand.IntN(3); i < len(all); i += 3 {
		some = append(some, all[i])
	}
	return some
}

// Rapid makes package rapid try a quarter of its usual sequences, unless tests run in full without
// the race detector, or the flag -rapid.checks says how many. It is for sequences of calls in one
// goroutine. It holds for the rest of the test binary.
var Rapid = sync.OnceFunc(func() {
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() != checks.DefValue {
		return
	}
	if err := flag.Set(checks.Name, fmt.Sprint(Plain(25, 100))); err != nil {
		panic(err)
	}
})

// Parallel lets go test run this many parallel tests at a time, unless its flag -parallel says how
// many. Tests that wait for servers need more than one per processor. Call it in TestMain.
func Parallel(n int) {
	if err := flag.Set("test.parallel", fmt.Sprint(n)); err != nil {
		panic(err)
	}
}

// ProgramsEnv names the environment variable that makes tests fail if they miss a program, such as
// node. If it is empty, they skip.
const ProgramsEnv = "PENDINGQ_REQUIRE_PROGRAMS"

// Program returns the path of a program that a test runs, or skips the test.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv(ProgramsEnv) != "" {
		t.Fatalf("%s is set, but a program is missing: %v", ProgramsEnv, err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

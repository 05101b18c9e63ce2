package backendtest

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
)

func TestMain(m *testing.M) {
	// Most tests here want failures, so rapid need not store them in files.
	setFlag("rapid.nofailfile", "true")
	setFlag("rapid.shrinktime", "1s")
	setFlag("rapid.checks", manyChecks)
	goleak.VerifyTestMain(m)
}

// manyChecks is the number of sequences that finds each fault.
const manyChecks = "1000"

func setFlag(name, value string) {
	if err := flag.Set(name, value); err != nil {
		panic(err)
	}
}

// recorder is a testing.TB that keeps the failures of a case. The test itself does not fail.
type recorder struct {
	testing.TB
	mu      sync.Mutex
	reports []string
	skipped bool
}

// record runs a case in a bubble, so waiting takes no time.
func record(t *testing.T, c testCase, open func() backends.Backend) *recorder {
	t.Helper()
	return inBubble(t, func(r *recorder) { c.run(r, open) })
}

func (r *recorder) report(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, strings.TrimSpace(text))
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.reports) > 0
}

func (r *recorder) Error(args ...any)                 { r.report(fmt.Sprintln(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.report(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) FailNow() { r.Fatal("failed") }

func (r *recorder) Skip(...any) {
	r.skipped = true
	runtime.Goexit()
}

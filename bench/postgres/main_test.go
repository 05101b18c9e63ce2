package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFirstLookHasEveryFigure(t *testing.T) {
	var out bytes.Buffer
	err := measure(t.Context(), sets["quick"], &out)
	postgrestest.Need(t, err)
	for _, want := range []string{"PostgreSQL ", ", River v", ", pgx v",
		"| on | 4 | floor |", "| off | 4 | pendingq |", "| off | 4 | pendingq-held |",
		"| off | 4 | River |", "cores |", "| by Create |", "| by the caller's commit |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
}

func TestWhatTheCommandLineRefuses(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"extra"}, {"-set", "huge"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%v: code %d, %q", args, code, errs.String())
		}
	}
}

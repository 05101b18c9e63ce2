package matrix_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pendingq/pendingq/internal/calls"
)

// table has the outcome of each cell.
type table struct {
	mu    sync.Mutex
	cells map[string]string
	sends map[string]bool // the rows of positions that are for some scenarios only
}

func row(g ground, s setup, sc calls.Scenario, p position) string {
	return fmt.Sprint(g.name, "|", s.name, "|", sc.Name, "|", p.name)
}

func cell(g ground, s setup, sc calls.Scenario, p position, cuts int) string {
	return fmt.Sprint(row(g, s, sc, p), "|", cuts)
}

// fill tries all cells of a lab's setup.
func (tb *table) fill(g ground, l *lab) {
	for _, sc := range g.trials().scenarios {
		l.expect(sc)
		for _, p := range l.positions {
			if p.command != "" {
				tb.mu.Lock()
				tb.sends[row(g, l.setup, sc, p)] = l.sent[p.command]
				tb.mu.Unlock()
				if !l.sent[p.command] {
					continue
				}
			}
			for _, cuts := range g.trials().cuts {
				outcome := l.try(sc, p, cuts)
				if l.Failed() {
					return
				}
				tb.mu.Lock()
				tb.cells[cell(g, l.setup, sc, p, cuts)] = outcome
				tb.mu.Unlock()
			}
		}
	}
}

// checkComplete checks that no cell is missing, and that all scenarios together try each position.
func (tb *table) checkComplete(t *testing.T) {
	t.Helper()
	tried := map[string]bool{}
	tb.each(func(g ground, s setup, sc calls.Scenario, p position) {
		tried[row(g, s, calls.Scenario{}, p)] = true
		for _, cuts := range g.trials().cuts {
			if tb.cells[cell(g, s, sc, p, cuts)] == "" {
				t.Errorf("the matrix has no cell %s", cell(g, s, sc, p, cuts))
			}
		}
	})
	for _, g := range grounds {
		for _, s := range g.setups {
			for _, p := range s.positions {
				all := len(g.trials().scenarios) == len(calls.Scenarios)
				if all && !tried[row(g, s, calls.Scenario{}, p)] {
					t.Errorf("%s, %s: no scenario tries the loss of a %s", g.name, s.name, p.name)
				}
			}
		}
	}
	t.Logf("%d cells", len(tb.cells))
}

func (tb *table) each(f func(ground, setup, calls.Scenario, position)) {
	for _, g := range grounds {
		for _, s := range g.setups {
			for _, sc := range g.trials().scenarios {
				for _, p := range s.positions {
					if p.command == "" || tb.sends[row(g, s, sc, p)] {
						f(g, s, sc, p)
					}
				}
			}
		}
	}
}

func (tb *table) markdown() string {
	var text strings.Builder
	text.WriteString("| on | setup | operation | lost reply | 0 | 1 | 2 | 3 | 4 |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	tb.each(func(g ground, s setup, sc calls.Scenario, p position) {
		fmt.Fprintf(&text, "| %s | %s | %s | %s |", g.name, s.name, sc.Name, p.name)
		for _, cuts := range g.trials().cuts {
			fmt.Fprintf(&text, " %s |", tb.cells[cell(g, s, sc, p, cuts)])
		}
		text.WriteByte('\n')
	})
	return text.String()
}

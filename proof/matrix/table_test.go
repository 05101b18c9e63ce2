package matrix_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// table has the outcome of each cell.
type table struct {
	mu    sync.Mutex
	cells map[string]string
}

func cell(g ground, s setup, sc scenario, p position, cuts int) string {
	return fmt.Sprint(g.name, "|", s.name, "|", sc.name, "|", p.name, "|", cuts)
}

// fill tries all cells of a lab's setup.
func (tb *table) fill(g ground, l *lab) {
	for _, sc := range g.trials().scenarios {
		l.expect(sc)
		for _, p := range l.positions {
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

// checkComplete checks that no cell is missing.
func (tb *table) checkComplete(t *testing.T) {
	t.Helper()
	tb.each(func(g ground, s setup, sc scenario, p position) {
		for _, cuts := range g.trials().cuts {
			if tb.cells[cell(g, s, sc, p, cuts)] == "" {
				t.Errorf("the matrix has no cell %s", cell(g, s, sc, p, cuts))
			}
		}
	})
	t.Logf("%d cells", len(tb.cells))
}

func (tb *table) each(f func(ground, setup, scenario, position)) {
	for _, g := range grounds {
		for _, s := range g.setups {
			for _, sc := range g.trials().scenarios {
				for _, p := range s.positions {
					f(g, s, sc, p)
				}
			}
		}
	}
}

func (tb *table) markdown() string {
	var text strings.Builder
	text.WriteString("| on | setup | operation | lost reply | 0 | 1 | 2 | 3 | 4 |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	tb.each(func(g ground, s setup, sc scenario, p position) {
		fmt.Fprintf(&text, "| %s | %s | %s | %s |", g.name, s.name, sc.name, p.name)
		for _, cuts := range g.trials().cuts {
			fmt.Fprintf(&text, " %s |", tb.cells[cell(g, s, sc, p, cuts)])
		}
		text.WriteByte('\n')
	})
	return text.String()
}

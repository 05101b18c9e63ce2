package pendingotel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
)

// query is a query that is checked against the exported series.
type query struct {
	series   map[string][]string // the labels of each series
	problems []string
	found    int // selectors
}

// checkQuery checks that a query parses, and that all series, labels and values in it exist. It
// returns the labels of the result.
func checkQuery(t *testing.T, series map[string][]string, text string) []string {
	t.Helper()
	labels, problems := analyse(series, text)
	for _, problem := range problems {
		t.Errorf("%s: %s", text, problem)
	}
	return labels
}

func analyse(series map[string][]string, text string) (labels, problems []string) {
	parsed, err := metricsql.Parse(text)
	if err != nil {
		return nil, []string{err.Error()}
	}
	q := &query{series: series}
	labels = q.labels(parsed)
	if q.found == 0 {
		q.problem("it names no series")
	}
	return labels, q.problems
}

func (q *query) problem(format string, args ...any) {
	q.problems = append(q.problems, fmt.Sprintf(format, args...))
}

// labels returns the labels of the result of an expression. A number has none.
func (q *query) labels(e metricsql.Expr) (labels []string) {
	switch e := e.(type) {
	case *metricsql.MetricExpr:
		return q.selector(e)
	case *metricsql.RollupExpr:
		return q.labels(e.Expr)
	case *metricsql.FuncExpr:
		for _, arg := range e.Args {
			labels = append(labels, q.labels(arg)...)
		}
		if e.Name == "histogram_quantile" {
			labels = q.without(labels, "le")
		}
	case *metricsql.AggrFuncExpr:
		return q.aggregate(e)
	case *metricsql.BinaryOpExpr:
		return q.binary(e)
	}
	return labels
}

func (q *query) selector(m *metricsql.MetricExpr) (labels []string) {
	q.found++
	for _, filters := range m.LabelFilterss {
		name := filters[0].Value
		known, ok := q.series[name]
		if !ok || filters[0].Label != "__name__" {
			q.problem("no metric exports %q", name)
			continue
		}
		labels = append(labels, known...)
		for _, f := range filters[1:] {
			if !slices.Contains(known, f.Label) {
				q.problem("%s has no label %s", name, f.Label)
			}
			for _, value := range strings.Split(f.Value, "|") {
				if f.Label != "pendingq_store" && !slices.Contains(values[f.Label], value) {
					q.problem("%s is never %q", f.Label, value)
				}
			}
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// aggregate also checks the labels of by and without.
func (q *query) aggregate(e *metricsql.AggrFuncExpr) (labels []string) {
	for _, arg := range e.Args {
		labels = append(labels, q.labels(arg)...)
	}
	rest := q.without(labels, e.Modifier.Args...)
	if e.Modifier.Op == "without" {
		return rest
	}
	return slices.Sorted(slices.Values(e.Modifier.Args))
}

// binary checks that both sides of an operator have the same labels, so that they can match.
func (q *query) binary(e *metricsql.BinaryOpExpr) []string {
	left, right := q.labels(e.Left), q.labels(e.Right)
	on := e.GroupModifier.Args
	q.without(left, on...)
	q.without(right, on...)
	numbers := len(left) == 0 || len(right) == 0
	if on == nil && !numbers && !slices.Equal(left, right) {
		q.problem("%v and %v do not match", left, right)
	}
	return left
}

// without returns labels without these, which must be among them.
func (q *query) without(labels []string, gone ...string) (rest []string) {
	for _, label := range gone {
		if !slices.Contains(labels, label) {
			q.problem("there is no label %s", label)
		}
	}
	return slices.DeleteFunc(slices.Clone(labels), func(label string) bool {
		return slices.Contains(gone, label)
	})
}

// missFirstEvents returns each increase(x[d]) of a query that is compared with 0, itself or in an
// aggregate, and not followed by "or x unless max_over_time(x[d] offset d)".
func missFirstEvents(text string) (missing []string) {
	parsed, err := metricsql.Parse(text)
	if err != nil {
		return nil // analyse tells
	}
	complete := map[string]bool{}
	visit := func(op string, f func(left, right metricsql.Expr)) {
		metricsql.VisitAll(parsed, func(e metricsql.Expr) {
			if b, ok := e.(*metricsql.BinaryOpExpr); ok && b.Op == op {
				f(b.Left, b.Right)
			}
		})
	}
	visit("or", func(left, right metricsql.Expr) {
		if events := increaseIn(left); events != nil {
			x, d := written(events.Expr), string(events.Window.AppendString(nil))
			want, err := metricsql.Parse(
				x + " unless max_over_time(" + x + "[" + d + "] offset " + d + ")")
			complete[written(events)] = err == nil && written(want) == written(right)
		}
	})
	visit(">", func(left, right metricsql.Expr) {
		events := increaseIn(left)
		if events != nil && written(right) == "0" && !complete[written(events)] {
			missing = append(missing, written(left))
		}
	})
	return missing
}

func written(e metricsql.Expr) string { return string(e.AppendString(nil)) }

// increaseIn returns x[d] of an expression increase(x[d]), of its comparison, or of its aggregate.
func increaseIn(e metricsql.Expr) *metricsql.RollupExpr {
	switch e := e.(type) {
	case *metricsql.BinaryOpExpr:
		if e.Op == ">" {
			return increaseIn(e.Left)
		}
	case *metricsql.AggrFuncExpr:
		return increaseIn(e.Args[0])
	case *metricsql.FuncExpr:
		if e.Name == "increase" {
			return e.Args[0].(*metricsql.RollupExpr)
		}
	}
	return nil
}

func TestTheCheckOfQueriesFindsMissedEvents(t *testing.T) {
	for text, missed := range map[string]bool{
		`increase(x[5m]) > 0`:                                                   true,
		`sum by (y) (increase(x[5m])) > 0`:                                      true,
		`increase(x[5m]) > 0 or x unless x offset 5m`:                           true,
		`increase(x[5m]) > 0 or x unless max_over_time(x[9m] offset 9m)`:        true,
		`increase(x{y="1"}[5m]) > 0 or x unless max_over_time(x[5m] offset 5m)`: true,
		`sum(increase(x[5m])) / sum(increase(y[5m])) > 0.1`:                     false,
		`y unless sum by (z) (increase(x[5m])) > 0`:                             true,

		`sum(increase(x[5m]) > 0 or x unless max_over_time(x[5m] offset 5m)) > 0`: false,
		`increase(x{y=~"1"}[5m]) > 0
			or x{y=~"1"} unless max_over_time(x{y=~"1"}[5m] offset 5m)`: false,
	} {
		if got := missFirstEvents(text); (got != nil) != missed {
			t.Errorf("%s: got %q", text, got)
		}
	}
}

func TestTheCheckOfQueriesFindsMistakes(t *testing.T) {
	series := exported(t)
	const created = "pendingq_request_created_total"
	for text, labels := range map[string]string{
		created + `{pendingq_store="x"} > 1`:                      "",
		`sum by (pendingq_store) (rate(` + created + `[5m])) > 0`: "[pendingq_store]",
		`pendingq_request_createt_total`:                          "?",
		`sum(`:                                                    "?",
		`1 + 1`:                                                   "?",
		created + `{mailbox="x"}`:                                 "?",
		`pendingq_request_ended_total{pendingq_outcome="gone"}`:                   "?",
		`sum by (pendingq_stor) (` + created + `)`:                                "?",
		`sum by (pendingq_outcome) (rate(` + created + `[5m])) > 0`:               "?",
		`histogram_quantile(0.9, sum by (pendingq_store) (` + created + `))`:      "?",
		`sum(` + created + `) by (pendingq_store) / on (job) ` + created:          "?",
		`sum by (pendingq_store) (` + created + `) unless ` + created:             "?",
		`sum without (pendingq_outcome) (rate(` + created + `[5m])) or vector(0)`: "?",
	} {
		got, problems := analyse(series, text)
		if (problems != nil) != (labels == "?") {
			t.Errorf("%s: %q", text, problems)
		}
		if strings.HasPrefix(labels, "[") && fmt.Sprint(got) != labels {
			t.Errorf("%s: labels %v, want %s", text, got, labels)
		}
	}
}

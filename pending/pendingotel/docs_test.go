package pendingotel_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v3"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/pending/pendingotel"
)

// exported returns the labels of each series that the Prometheus exporter of OpenTelemetry makes of
// all metrics, by the name of the series.
func exported(t *testing.T) map[string][]string {
	registry := prometheus.NewRegistry()
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t}
	n.backend, err = pendingotel.Instrument(memory.New(), &pendingotel.Options{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(exporter))})
	n.must(err)
	n.store = n.newStore(policy())
	everything(t, n)
	families, err := registry.Gather()
	n.must(err)
	series := map[string][]string{}
	for _, family := range families {
		var labels []string
		for _, m := range family.Metric {
			for _, l := range m.Label {
				labels = append(labels, l.GetName())
			}
		}
		name := family.GetName()
		series[name] = labels
		if family.Metric[0].Histogram != nil {
			delete(series, name)
			series[name+"_bucket"] = append(slices.Clone(labels), "le")
			series[name+"_count"], series[name+"_sum"] = labels, labels
		}
	}
	return series
}

// values are the possible values of each label, except the store.
var values = map[string][]string{
	"error_type": {"", "not_found", "ended", "stale_claim", "busy", "full", "corrupt_record",
		"invalid", "too_large", "unsupported", "unauthorized", "forbidden", "too_many",
		"canceled", "deadline_exceeded", "_OTHER"},
	"pendingq_operation": {"create", "get", "has_pending", "claim", "claim_many", "extend",
		"progress", "release", "cancel", "end", "list", "mailboxes"},
	"pendingq_outcome": {"completed", "failed", "timeout", "cancelled"},
	"pendingq_attempt": {"none", "first", "again"},
}

// checkLabels checks that a text names only labels of its query, in the last group of each match.
func checkLabels(t *testing.T, where string, labels []string, matches [][]string) {
	t.Helper()
	for _, m := range matches {
		if label := m[len(m)-1]; !slices.Contains(labels, label) {
			t.Errorf("%s: the query has no label %s", where, label)
		}
	}
}

var (
	alertLabel     = regexp.MustCompile(`\$labels\.(\w+)`)
	legendLabel    = regexp.MustCompile(`\{\{(\w+)\}\}`)
	choiceOfLabels = regexp.MustCompile(`label_values\((\w+), (\w+)\)`)
)

func TestAlertsNameExportedSeries(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Expr        string
				For         string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	read(t, "../../docs/alerts.yaml", func(text []byte) error {
		return yaml.Unmarshal(text, &rules)
	})
	series := exported(t)
	for _, r := range rules.Groups[0].Rules {
		labels := checkQuery(t, series, r.Expr)
		for _, increase := range missFirstEvents(r.Expr) {
			t.Errorf("%s: %s > 0 misses the first event of each series", r.Alert, increase)
		}
		for _, text := range r.Annotations {
			checkLabels(t, r.Alert, labels, alertLabel.FindAllStringSubmatch(text, -1))
		}
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" ||
			r.Annotations["description"] == "" {
			t.Errorf("%s lacks a severity, a summary or a description", r.Alert)
		}
	}
}

func TestTheGrafanaDashboardNamesExportedSeries(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	series := exported(t)
	read(t, "../../docs/grafana.json", func(text []byte) error {
		for _, choice := range choiceOfLabels.FindAllStringSubmatch(string(text), -1) {
			checkLabels(t, choice[0], series[choice[1]], [][]string{choice[1:]})
		}
		return json.Unmarshal(text, &dashboard)
	})
	seen, ids := map[string]bool{}, map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q has no id of its own, no title or no query", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			query := strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
			labels := checkQuery(t, series, query)
			checkLabels(t, p.Title, labels,
				legendLabel.FindAllStringSubmatch(target.LegendFormat, -1))
			for name := range series {
				seen[name] = seen[name] || strings.Contains(query, name)
			}
		}
	}
	for name := range series {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(
			name, "_bucket"), "_sum"), "_count")
		ours := strings.HasPrefix(name, "pendingq_")
		if ours && !seen[name] && !seen[base+"_bucket"] && !seen[base+"_count"] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func read(t *testing.T, path string, parse func([]byte) error) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = parse(text)
	}
	if err != nil {
		t.Fatal(err)
	}
}

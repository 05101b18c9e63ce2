package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/pending"
)

// get reads a page of the metrics address.
func (n *node) get(url string) (int, string) {
	n.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		n.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// everything makes a node report each of its metrics.
func everything(n *node) {
	n.Helper()
	create := func(store string) string {
		_, fields := n.send(adasToken, "POST", "/pending/requests?mailbox=laptop&store="+store,
			`{"payload": {}}`)
		return fmt.Sprint(fields["id"])
	}
	claim := func() {
		n.send(laptopToken, "POST", "/pending/claim",
			`{"claims": [{"id": "c", "mailbox": "laptop", "from": [{"store": "backup"}]}]}`)
	}
	claim() // nothing
	id := create("backup")
	n.send(laptopToken, "POST", "/pending/claim",
		`{"claims": [{"id": "d", "mailbox": "laptop", "from": [{"store": "backup"}]}]}`)
	n.send(laptopToken, "POST", "/pending/requests/"+id+"/end?store=backup",
		`{"attempt": 1, "outcome": "completed", "payload": {}}`)
	for id, status := create("short"), ""; status != "timeout"; <-time.After(time.Millisecond) {
		_, fields := n.send(adasToken, "GET", "/pending/requests/"+id+"?store=short", "")
		status = fmt.Sprint(fields["status"])
	}
	id = create("backup")
	n.send(adasToken, "GET", "/pending/requests/"+id+"?wait=1ms&store=backup", "")
}

var ours = regexp.MustCompile(`\bpendingq_\w+`)

// Grafana and the alerts name series. The server must export exactly these.
func TestTheServerExportsTheSeriesOfTheDashboardsAndAlerts(t *testing.T) {
	o := someOptions(t, "memory:")
	o.stores = append(o.stores, pending.Policy{Name: "short", PendingTimeout: time.Millisecond,
		RunningTimeout: time.Minute, Retention: time.Minute})
	n := startNode(t, o)
	everything(n)
	status, text := n.get(n.metrics + "/metrics")
	if status != http.StatusOK || !strings.Contains(text, "go_goroutines") ||
		strings.Contains(text, "laptop") {
		t.Fatalf("got %d %s; want metrics without names of mailboxes", status, text)
	}
	exported := ours.FindAllString(text, -1)
	var asked []string
	for _, path := range []string{"../../docs/grafana.json", "../../docs/alerts.yaml"} {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, ours.FindAllString(string(file), -1)...)
	}
	for _, name := range asked {
		if !slices.Contains(exported, name) {
			t.Errorf("docs name %s, which the server does not export", name)
		}
	}
	for line := range strings.Lines(text) {
		var name, kind string
		n, _ := fmt.Sscanf(line, "# TYPE %s %s", &name, &kind)
		if kind == "histogram" {
			name += "_bucket"
		}
		if n == 2 && strings.HasPrefix(name, "pendingq_") && !slices.Contains(asked, name) {
			t.Errorf("the server exports %s, which no dashboard shows", name)
		}
	}
}

func TestMetricsAndHealthHaveAnAddressOfTheirOwn(t *testing.T) {
	n := startNode(t, someOptions(t, "memory:"))
	if status, _ := n.get(n.url + "/metrics"); status != http.StatusNotFound {
		t.Errorf("the API node answers /metrics with %d, want 404", status)
	}
	for _, base := range []string{n.url, n.metrics} {
		for _, path := range []string{"/livez", "/readyz", "/healthz"} {
			status, text := n.get(base + path)
			if status != http.StatusOK || text != `{"status":"ok"}` {
				t.Errorf("%s: got %d %s", path, status, text)
			}
		}
	}
	o := someOptions(t, "memory:")
	o.metrics = ""
	if alone := startNode(t, o); alone.metrics != "http://" {
		t.Errorf("without an address, metrics are at %q", alone.metrics)
	}
}

func TestReadinessTurnsFalseBeforeTheServerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &health{}
		gone := make(chan struct{})
		go func() {
			h.leave(5 * time.Second)
			close(gone)
		}()
		synctest.Wait()
		answer := newAnswer()
		h.ready(answer, nil)
		if answer.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d during the drain, want 503", answer.Code)
		}
		select {
		case <-gone:
			t.Error("the drain is over at once")
		default:
		}
		<-gone
	})
}

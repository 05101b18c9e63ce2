package postgres_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/internal/freeport"
	"github.com/pendingq/pendingq/internal/postgrestest"
)

// startBouncer starts a pgbouncer in front of a server. It gives each transaction another of a few
// connections.
func startBouncer(t *testing.T, behind *server) *server {
	t.Helper()
	path, err := postgrestest.Find("pgbouncer", "/usr/sbin", "/usr/local/sbin", "/opt/*/bin")
	postgrestest.Need(t, err)
	dir, err := postgrestest.Folder()
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(behind.URL, "@127.0.0.1:")
	port, _, _ := strings.Cut(address, "/")
	ports, err := freeport.Find(1)
	if err != nil {
		t.Fatal(err)
	}
	listen := ports[0]
	config := fmt.Sprintf(`[databases]
postgres = host=127.0.0.1 port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir = %s
auth_type = any
pool_mode = transaction
default_pool_size = 8
max_client_conn = 200
server_round_robin = 1
ignore_startup_parameters = extra_float_digits
`, port, listen, dir)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", listen)
	s, err := postgrestest.Launch(url, dir, path, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	return &server{s}
}

// preparingNothing keeps a pool from preparing statements. A pool behind pgbouncer needs it for
// statements of other code than a Backend's.
func preparingNothing(c *pgxpool.Config) {
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
}

func TestThePollOnlyModePassesTheSuiteThroughPgbouncer(t *testing.T) {
	t.Parallel()
	behind := commonServer(t)
	pool := startBouncer(t, behind).pool(t, preparingNothing)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		schema := newSchema(t, pool)
		return open(t, pool, postgres.Options{Schema: schema, PollOnly: true})
	})
}

func TestThePollOnlyModeNeedsNothingOfItsPool(t *testing.T) {
	bouncer := startBouncer(t, commonServer(t))
	pool := bouncer.pool(t, func(c *pgxpool.Config) { c.MaxConns = 4 })
	b := open(t, pool, postgres.Options{Schema: newSchema(t, pool), PollOnly: true})
	terms := lasting("s")
	for range 50 { // on all connections of the bouncer
		c := question(terms, box)
		if _, err := b.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		got, err := b.Claim(t.Context(), poll(box, terms))
		if err != nil || len(got[0].Records) != 1 {
			t.Fatalf("claimed %v, %v", got, err)
		}
		if _, err := b.End(t.Context(), report(terms, c.ID, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// The Backend itself is connected to the server.
func TestATransactionMayGoThroughPgbouncer(t *testing.T) {
	o := newOffice(t)
	o.pool = startBouncer(t, commonServer(t)).pool(t, preparingNothing)
	for range 2 {
		var open []pgx.Tx // together, on several connections of the bouncer
		for range 6 {
			open = append(open, o.begin(pgx.TxOptions{}))
		}
		for _, tx := range open {
			o.order(tx, question(lasting("s"), box))
			o.commit(tx)
		}
	}
}

func TestDiagnoseFindsAPooler(t *testing.T) {
	pool := startBouncer(t, commonServer(t)).pool(t, preparingNothing)
	schema := newSchema(t, pool)
	for _, pollOnly := range []bool{false, true} {
		opts := &postgres.Options{Schema: schema, PollOnly: pollOnly}
		findings, err := postgres.Diagnose(t.Context(), pool, opts)
		if err != nil {
			t.Fatal(err)
		}
		want := backends.SeverityWarning
		if pollOnly {
			want = backends.SeverityInfo
		}
		if got, ok := finding(findings, "pooler"); !ok || got.Severity != want {
			t.Errorf("PollOnly %v: got %v, want a finding of a pooler", pollOnly, findings)
		}
	}
}

// finding returns the first finding about a subject.
func finding(findings []backends.Finding, subject string) (backends.Finding, bool) {
	for _, f := range findings {
		if f.Subject == subject {
			return f, true
		}
	}
	return backends.Finding{}, false
}

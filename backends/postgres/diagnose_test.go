package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
)

func TestAHealthyServerPassesCheckAndDiagnose(t *testing.T) {
	s := startServer(t, "fsync=on")
	pool := s.pool(t, nil)
	opts := postgres.Options{Schema: newSchema(t, pool)}
	if err := open(t, pool, opts).Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	findings, err := postgres.Diagnose(t.Context(), pool, &opts)
	if err != nil || len(findings) > 0 {
		t.Errorf("Diagnose: %v, %v", findings, err)
	}
}

func TestDiagnoseNamesEachDanger(t *testing.T) {
	s := startServer(t, "autovacuum=off", "synchronous_commit=off")
	schema := newSchema(t, s.pool(t, nil))
	for _, c := range []struct {
		subject  string
		severity backends.Severity
		setting  string // of the pool's connections
	}{
		{"fsync", backends.SeverityWarning, ""}, // the server's own
		{"autovacuum", backends.SeverityWarning, ""},
		{"commit", backends.SeverityInfo, ""},
		{"pool", backends.SeverityWarning, ""},
		{"isolation", backends.SeverityProblem, "default_transaction_isolation=serializable"},
		{"read-only", backends.SeverityProblem, "default_transaction_read_only=on"},
	} {
		t.Run(c.subject, func(t *testing.T) {
			pool := s.pool(t, func(conf *pgxpool.Config) {
				conf.MaxConns = 2
				if name, value, ok := strings.Cut(c.setting, "="); ok {
					conf.ConnConfig.RuntimeParams[name] = value
				}
			})
			findings, err := postgres.Diagnose(t.Context(), pool, &postgres.Options{Schema: schema})
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := finding(findings, c.subject); !ok || got.Severity != c.severity {
				t.Errorf("got %v, want a finding about %s", findings, c.subject)
			}
			err = open(t, pool, postgres.Options{Schema: schema}).Check(t.Context())
			if fails := c.severity == backends.SeverityProblem; (err != nil) != fails {
				t.Errorf("Check: got %v, want an error: %v", err, fails)
			}
		})
	}
}

func TestDiagnoseFindsDeadRows(t *testing.T) {
	s := startServer(t, "autovacuum=off")
	pool := s.pool(t, nil)
	schema := newSchema(t, pool)
	rows := execute(t, pool, `INSERT INTO `+table(schema, "request")+` (store, id, mailbox, live,
		status, attempt, codec, payload, created, updated, deadline, last_deadline, expires, rank,
		sweep)
		SELECT 's', i::text, '', false, 'failed', 0, '', '', t, t, t, t, t, t, t
		FROM generate_series(1, 20000) i, now() t`)
	if rows != execute(t, pool, "DELETE FROM "+table(schema, "request")+" WHERE store <> ''") {
		t.Fatal("not all rows were deleted")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		pool.Reset() // a connection reports its figures when it ends
		findings, err := postgres.Diagnose(ctx, pool, &postgres.Options{Schema: schema})
		if err != nil || ctx.Err() != nil {
			t.Fatalf("got %v, %v, want a finding about bloat", findings, err)
		}
		if _, ok := finding(findings, "bloat"); ok {
			return
		}
	}
}

func TestDiagnoseNamesAnIdleTransaction(t *testing.T) {
	pool := commonServer(t).pool(t, nil)
	schema := newSchema(t, pool)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	// A view in front of the server's own makes the transaction older than it is.
	aged := commonServer(t).pool(t, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["search_path"] = "aged, pg_catalog"
	})
	execute(t, pool, `CREATE SCHEMA IF NOT EXISTS aged;
		CREATE OR REPLACE VIEW aged.pg_stat_activity AS
			SELECT datname, pid, state, backend_type,
				state_change - interval '2 minutes' AS state_change
			FROM pg_catalog.pg_stat_activity`)
	findings, err := postgres.Diagnose(t.Context(), aged, &postgres.Options{Schema: schema})
	if got, ok := finding(findings, "transaction"); err != nil || !ok ||
		!strings.Contains(got.Text, "2m") {
		t.Errorf("got %v, %v, want a finding about a transaction of two minutes", findings, err)
	}
}

func execute(t *testing.T, pool *pgxpool.Pool, sql string) int64 {
	t.Helper()
	tag, err := pool.Exec(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return tag.RowsAffected()
}

func TestWithoutASchemaTheAdviceIsToMigrate(t *testing.T) {
	b := open(t, commonPool(t), postgres.Options{Schema: "nowhere"})
	err := b.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Migrate") {
		t.Errorf("got %v, want advice to migrate", err)
	}
	if _, err := b.Get(t.Context(), "s", backends.NewID(box)); err == nil {
		t.Error("Get without a schema succeeded")
	}
}

func TestErrorsTellNoSecrets(t *testing.T) {
	const secret = "hunter2"
	url := "postgres://user:" + secret + "@127.0.0.1:1/postgres"
	pool, err := openPool(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	b := open(t, pool, postgres.Options{})
	c := question(lasting("s"), box)
	c.Payload = []byte(secret)
	_, createErr := b.Create(t.Context(), c)
	findings, diagnoseErr := postgres.Diagnose(t.Context(), pool, nil)
	_, found := finding(findings, "connection")
	if !found || len(findings) > 1 || diagnoseErr != nil {
		t.Errorf("Diagnose: got %v, %v, want one finding: the connection", findings, diagnoseErr)
	}
	migrateErr := postgres.Migrate(t.Context(), pool, nil)
	told := fmt.Errorf("%v", findings)
	for _, err := range []error{createErr, b.Check(t.Context()), migrateErr, told} {
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Errorf("got %v, want an error without the password and the payload", err)
		}
	}
}

func TestNewRefusesInvalidOptions(t *testing.T) {
	pool := commonPool(t)
	for name, open := range map[string]func() (*postgres.Backend, error){
		"no pool": func() (*postgres.Backend, error) { return postgres.New(nil, nil) },
		"a handler that takes the notifications": func() (*postgres.Backend, error) {
			conf := pool.Config()
			conf.ConnConfig.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
			handled, err := pgxpool.NewWithConfig(t.Context(), conf)
			if err != nil {
				t.Fatal(err)
			}
			defer handled.Close()
			return postgres.New(handled, nil)
		},
		"interval": func() (*postgres.Backend, error) {
			return postgres.New(pool, &postgres.Options{PollInterval: time.Millisecond})
		},
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: New accepted it", name)
		}
	}
}

func TestASchemaNameThatPostgreSQLOrMigrateCannotUseIsRefused(t *testing.T) {
	pool := commonPool(t)
	for _, name := range []string{strings.Repeat("s", 49), "a\x00b", "\xff", "a$$b"} {
		if _, err := postgres.New(pool, &postgres.Options{Schema: name}); err == nil {
			t.Errorf("New accepted %q", name)
		}
		err := postgres.Migrate(t.Context(), pool, &postgres.MigrateOptions{Schema: name})
		if err == nil || !strings.Contains(err.Error(), "name") {
			t.Errorf("Migrate: got %v for %q, want an error about the name", err, name)
		}
	}
}

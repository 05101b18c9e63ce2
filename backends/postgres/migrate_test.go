package postgres_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/postgres"
)

func TestManyNodesMigrateAtOnce(t *testing.T) {
	pool := commonPool(t)
	opts := &postgres.MigrateOptions{Schema: backends.NewID("")}
	var nodes sync.WaitGroup
	for range 16 {
		nodes.Go(func() {
			if err := postgres.Migrate(t.Context(), pool, opts); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
	b := open(t, pool, postgres.Options{Schema: opts.Schema})
	if _, err := b.Create(t.Context(), question(lasting("s"), box)); err != nil {
		t.Error(err)
	}
}

func TestASchemaOfALaterVersionIsRefused(t *testing.T) {
	pool := commonPool(t)
	schema := newSchema(t, pool)
	execute(t, pool, "INSERT INTO "+table(schema, "version")+" VALUES (99)")
	err := postgres.Migrate(t.Context(), pool, &postgres.MigrateOptions{Schema: schema})
	if err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("got %v, want an error about version 99", err)
	}
}

// An old node reads the version before a newer node migrates, and gets the lock afterwards.
func TestASchemaThatOvertakesAMigrationIsRefused(t *testing.T) {
	o := newOffice(t)
	version := table(o.schema, "version")
	newer := o.begin(pgx.TxOptions{})
	o.exec(newer, "SELECT "+table(o.schema, "lock_mailbox(65537)")) // the lock of Migrate
	o.exec(o.pool, "DELETE FROM "+version)
	older := (&arena{office: o}).start(func(a *arena) (time.Time, error) {
		opts := &postgres.MigrateOptions{Schema: a.schema}
		return time.Time{}, postgres.Migrate(a.Context(), a.pool, opts)
	})
	if !older.waitsFor(newer) {
		t.Error("Migrate has not waited")
	}
	o.exec(newer, "INSERT INTO "+version+" VALUES (99)")
	o.commit(newer)
	if <-older.done; older.err == nil || !strings.Contains(older.err.Error(), "99") {
		t.Errorf("got %v, want an error about version 99", older.err)
	}
}

func TestASchemaOfALaterVersionGetsNoGrants(t *testing.T) {
	pool := commonPool(t)
	_, role := restrictedPool(t)
	schema := newSchema(t, pool)
	execute(t, pool, "INSERT INTO "+table(schema, "version")+" VALUES (99)")
	opts := &postgres.MigrateOptions{Schema: schema, Grant: []string{role}}
	if err := postgres.Migrate(t.Context(), pool, opts); err == nil {
		t.Error("a schema of version 99 was accepted")
	}
	var granted bool
	err := pool.QueryRow(t.Context(), "SELECT has_schema_privilege($1, $2, 'USAGE')", role,
		schema).Scan(&granted)
	if err != nil || granted {
		t.Errorf("the role got rights: %t, %v", granted, err)
	}
}

func TestNoSearchPathMatters(t *testing.T) {
	pool := commonServer(t).pool(t, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["search_path"] = "nowhere"
	})
	b := open(t, pool, postgres.Options{Schema: newSchema(t, pool)})
	terms := lasting("s")
	c := question(terms, box)
	if _, err := b.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Claim(t.Context(), poll(box, terms)); err != nil || len(got[0].Records) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// restrictedPool is a pool of a new role without rights.
func restrictedPool(t *testing.T) (pool *pgxpool.Pool, role string) {
	t.Helper()
	role = "r" + strings.ToLower(backends.NewID(""))
	if _, err := commonPool(t).Exec(t.Context(), "CREATE ROLE "+role+" LOGIN"); err != nil {
		t.Fatal(err)
	}
	return commonServer(t).pool(t, func(c *pgxpool.Config) { c.ConnConfig.User = role }), role
}

// grantedSchema is a new schema in which a role has nothing but the smallest rights.
func grantedSchema(t *testing.T, role string) (schema string) {
	t.Helper()
	schema = newSchema(t, commonPool(t))
	opts := &postgres.MigrateOptions{Schema: schema, Grant: []string{role}}
	if err := postgres.Migrate(t.Context(), commonPool(t), opts); err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestTheSmallestRightsPassTheSuite(t *testing.T) {
	t.Parallel()
	pool, role := restrictedPool(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		b := open(t, pool, postgres.Options{Schema: grantedSchema(t, role)})
		if err := b.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b
	})
}

func TestTheSmallestRightsAllowACreateInATransaction(t *testing.T) {
	pool, role := restrictedPool(t)
	b := open(t, pool, postgres.Options{Schema: grantedSchema(t, role)})
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := b.Create(postgres.InTx(t.Context(), tx), question(lasting("s"), box))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTheSmallestRightsAllowToMigrateAnUpToDateSchema(t *testing.T) {
	pool, role := restrictedPool(t)
	opts := &postgres.MigrateOptions{Schema: grantedSchema(t, role)}
	if err := postgres.Migrate(t.Context(), pool, opts); err != nil {
		t.Error(err)
	}
}

func TestEachOfTheSmallestRightsIsNeeded(t *testing.T) {
	owner := commonPool(t)
	pool, role := restrictedPool(t)
	for _, right := range []string{
		"USAGE ON SCHEMA {s}", "SELECT ON {s}.version",
		"SELECT ON {s}.request", "INSERT ON {s}.request", "UPDATE ON {s}.request",
		"DELETE ON {s}.request",
		"SELECT ON {s}.claim", "INSERT ON {s}.claim", "UPDATE ON {s}.claim", "DELETE ON {s}.claim",
		"SELECT ON {s}.arrival", "INSERT ON {s}.arrival", "UPDATE ON {s}.arrival",
		"DELETE ON {s}.arrival",
	} {
		t.Run(right, func(t *testing.T) {
			schema := grantedSchema(t, role)
			sql := "REVOKE " + right + " FROM " + role
			execute(t, owner, strings.ReplaceAll(sql, "{s}", pgx.Identifier{schema}.Sanitize()))
			err := open(t, pool, postgres.Options{Schema: schema}).Check(t.Context())
			if err == nil || !strings.Contains(err.Error(), "rights") {
				t.Errorf("Check: got %v, want an error about rights", err)
			}
		})
	}
}

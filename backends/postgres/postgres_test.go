package postgres_test

import (
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/postgres"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	pool := commonPool(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		opts := postgres.Options{Schema: newSchema(t, pool)}
		return backendtest.Nodes(open(t, pool, opts), open(t, pool, opts), open(t, pool, opts))
	})
}

func TestABusyMailboxHoldsNoOtherUp(t *testing.T) {
	pool := commonPool(t)
	schema := newSchema(t, pool)
	b := open(t, pool, postgres.Options{Schema: schema})
	busy, err := strconv.ParseUint(backends.Partition(box), 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		lock := "SELECT " + table(schema, "lock_mailbox($1)")
		if _, err := tx.Exec(t.Context(), lock, int(busy)); err != nil {
			return err
		}
		terms := lasting("s")
		c := question(terms, "runtime-2")
		if _, err := b.Create(t.Context(), c); err != nil {
			return err
		}
		if _, err := b.Claim(t.Context(), poll(c.Mailbox, terms)); err != nil {
			return err
		}
		_, err := b.End(t.Context(), report(terms, c.ID, 1))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Answers are read in binary, which pgx does not ask for in each of these modes.
func TestAPoolMayExecuteStatementsInAnyMode(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement,
		pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) { passesRequests(t, mode, 512) })
	}
	t.Run("without caches", func(t *testing.T) { passesRequests(t, pgx.QueryExecModeExec, 0) })
}

// passesRequests creates requests in two mailboxes, claims both at once, and reads them.
func passesRequests(t *testing.T, mode pgx.QueryExecMode, cache int) {
	pool := commonServer(t).pool(t, func(c *pgxpool.Config) {
		c.ConnConfig.DefaultQueryExecMode = mode
		c.ConnConfig.StatementCacheCapacity, c.ConnConfig.DescriptionCacheCapacity = cache, cache
	})
	b := open(t, pool, postgres.Options{Schema: newSchema(t, pool)})
	terms := lasting("s")
	var claims []backends.Claim
	for _, mailbox := range []string{"runtime-1", "runtime-2"} {
		c := question(terms, mailbox)
		c.Headers = map[string]string{"of": mailbox}
		if _, err := b.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		claims = append(claims, poll(mailbox, terms))
	}
	for i, result := range b.ClaimMany(t.Context(), claims) {
		if result.Err != nil || len(result.Claimed[0].Records) != 1 {
			t.Fatalf("got %+v, want one request", result)
		}
		claimed := result.Claimed[0].Records[0]
		read, err := b.Get(t.Context(), "s", claimed.ID)
		claimed.ReadAt = read.ReadAt
		if err != nil || !reflect.DeepEqual(read, claimed) {
			t.Errorf("claimed %+v, read %+v, %v", claimed, read, err)
		}
		if read.Headers["of"] != claims[i].Mailbox || read.Attempt != 1 {
			t.Errorf("got %+v", read)
		}
	}
}

func TestPollOnlyNeedsACacheOfDescriptions(t *testing.T) {
	pool := commonServer(t).pool(t, func(c *pgxpool.Config) {
		c.ConnConfig.DescriptionCacheCapacity = 0
	})
	_, err := postgres.New(pool, &postgres.Options{PollOnly: true})
	if err == nil || !strings.Contains(err.Error(), "DescriptionCacheCapacity") {
		t.Errorf("got %v, want an error that names DescriptionCacheCapacity", err)
	}
}

func TestAnAnswerOfAnotherSchemaVersionIsAnError(t *testing.T) {
	for _, columns := range []string{
		"place int, now timestamptz, id text) LANGUAGE sql AS $$ SELECT 7, now(), 'x' $$",
		"place bigint, now timestamptz, id text) LANGUAGE sql AS $$ SELECT 0, now(), 'x' $$",
	} {
		pool := commonPool(t)
		schema := newSchema(t, pool)
		b := open(t, pool, postgres.Options{Schema: schema})
		name := table(schema, "claim_requests")
		execute(t, pool, "DROP FUNCTION "+name)
		execute(t, pool, "CREATE FUNCTION "+name+"(int, text, bytea, text[], int[], int[], "+
			"interval[], interval[], interval[]) RETURNS TABLE ("+columns)
		_, err := b.Claim(t.Context(), poll(box, lasting("s")))
		if err == nil || !strings.Contains(err.Error(), "another version") {
			t.Errorf("got %v, want an error about another version", err)
		}
	}
}

// A claim is held up between its look at the mailbox and its memo.
func TestAClaimGetsItsRequestWhateverTheSweepDoes(t *testing.T) {
	for name, sql := range map[string]struct{ before, first, then string }{
		"moves the request": {"", "INSERT INTO {claim} VALUES ($1, now(), now())",
			"UPDATE {request} SET sweep = sweep"},
		"frees an expired memo": {"INSERT INTO {claim} VALUES ($1, now() - '1 h', now() - '1 h')",
			"DELETE FROM {claim} WHERE id = $1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			in := strings.NewReplacer("{claim}", table(o.schema, "claim"),
				"{request}", table(o.schema, "request"), "'1 h'", "interval '1 h'").Replace
			terms := lasting("s")
			if _, err := o.b.Create(t.Context(), question(terms, box)); err != nil {
				t.Fatal(err)
			}
			c := poll(box, terms)
			if sql.before != "" {
				o.exec(o.pool, in(sql.before), c.ID)
			}
			tx := o.begin(pgx.TxOptions{})
			o.exec(tx, in(sql.first), c.ID)
			got := make(chan int, 1)
			go func() {
				claimed, err := o.b.Claim(t.Context(), c)
				if err != nil {
					t.Error(err)
				}
				got <- len(claimed[0].Records)
			}()
			o.awaitBlocked("claim_requests")
			end := tx.Commit
			if sql.then != "" {
				o.exec(o.pool, in(sql.then))
				end = tx.Rollback
			}
			if err := end(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := <-got; n != 1 {
				t.Errorf("claimed %d requests, want 1", n)
			}
		})
	}
}

// awaitBlocked waits until a call of a function waits for a transaction.
func (o *office) awaitBlocked(function string) {
	o.Helper()
	for n := 0; n == 0; {
		err := o.pool.QueryRow(o.Context(), `SELECT count(*) FROM pg_stat_activity, pg_sleep(0.01)
			WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0`,
			table(o.schema, function)).Scan(&n)
		if err != nil {
			o.Fatal(err)
		}
	}
}

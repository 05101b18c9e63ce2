package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A session keeps its plan of the memo's check when the table grows.
func TestTheCheckOfAMemoIsAnIndexScanThoughItsTableIsEmpty(t *testing.T) {
	o := newOffice(t)
	claims := table(o.schema, "claim")
	o.exec(o.pool, "VACUUM "+claims)
	tx := o.begin(pgx.TxOptions{})
	o.checkPlan(tx, "SELECT FROM "+claims+" c WHERE c.id = $1 AND c.until + '0' >= now()",
		"Index Scan using claim_pkey")
}

// A new schema has no statistics of autovacuum yet.
func TestARequestIsFoundByAnIndexScanThoughItsTableHasGrown(t *testing.T) {
	o := newOffice(t)
	requests := table(o.schema, "request")
	tx := o.begin(pgx.TxOptions{})
	o.exec(tx, `INSERT INTO `+requests+` (store, id, mailbox, live, status, attempt, codec, payload,
			created, updated, deadline, last_deadline, expires, rank, sweep)
		SELECT 's', n::text, 'box', live, status, attempt, codec, payload, created, updated,
			deadline, last_deadline, expires, rank, sweep
		FROM `+requests+`, generate_series(1, 20000) n WHERE store = ''`)
	o.checkPlan(tx, "SELECT FROM "+requests+" q WHERE q.store = 's' AND q.id = $1",
		"Index Only Scan using request_pkey")
	o.checkPlan(tx, "UPDATE "+requests+" q SET attempt = 1 WHERE q.store = 's' AND q.id = $1",
		"Index Scan using request_pkey")
}

// checkPlan checks how a session executes a statement with one parameter.
func (o *office) checkPlan(tx pgx.Tx, sql, want string) {
	o.Helper()
	o.exec(tx, "SET LOCAL plan_cache_mode = force_generic_plan")
	o.exec(tx, "PREPARE checked AS "+sql)
	rows, err := tx.Query(o.Context(), "EXPLAIN EXECUTE checked('')",
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		o.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if text := strings.Join(plan, "\n"); err != nil || !strings.Contains(text, want) {
		o.Errorf("got %v, want %s; the plan:\n%s", err, want, text)
	}
	o.exec(tx, "DEALLOCATE checked")
}

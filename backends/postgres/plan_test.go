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
	o.exec(tx, "SET LOCAL plan_cache_mode = force_generic_plan")
	o.exec(tx, "PREPARE memo AS SELECT FROM "+claims+" c WHERE c.id = $1 AND c.until + '0' >= $2")
	rows, err := tx.Query(t.Context(), "EXPLAIN EXECUTE memo('', now())",
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || !strings.Contains(plan[0], "claim_pkey") {
		t.Errorf("got %v, want an index scan; the plan:\n%s", err, strings.Join(plan, "\n"))
	}
	o.exec(tx, "DEALLOCATE memo")
}

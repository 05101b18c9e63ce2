package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The planner believes that a commit of InTx is expensive. If jit compiled it, as it does on a
// server with LLVM, each request of the transaction would lock its partition for 50 ms.
func TestACommitIsNotCompiled(t *testing.T) {
	o := newOffice(t)
	var off bool
	err := o.pool.QueryRow(t.Context(), `SELECT 'jit=off' = ANY (p.proconfig) FROM pg_proc p
		JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname = $1 AND p.proname = 'arrive'`, o.schema).Scan(&off)
	if err != nil || !off {
		t.Errorf("jit is off: %t, %v", off, err)
	}
}

// The foreign key is checked at the commit, although its row came after the request. The check
// waits for the row of the other transaction.
func TestACommitThatWaitsForAnOpenTransactionHoldsNobodyUp(t *testing.T) {
	o, c := newOffice(t), question(lasting("s"), box)
	parent, child := table(o.schema, "parent"), table(o.schema, "child")
	o.exec(o.pool, "CREATE TABLE "+parent+" (id int PRIMARY KEY)")
	o.exec(o.pool, "CREATE TABLE "+child+" (id int REFERENCES "+parent+
		" DEFERRABLE INITIALLY DEFERRED)")
	o.exec(o.pool, "INSERT INTO "+parent+" VALUES (1)")
	open := o.begin(pgx.TxOptions{})
	o.exec(open, "SELECT FROM "+parent+" FOR UPDATE")
	tx := o.begin(pgx.TxOptions{})
	o.order(tx, c)
	o.exec(tx, "INSERT INTO "+child+" VALUES (1)")
	commit := (&arena{office: o}).start(func(*arena) (time.Time, error) {
		return time.Time{}, tx.Commit(t.Context())
	})
	if commit.waitsFor(open) { // for a row, not for an advisory lock
		t.Error("the commit waits for an advisory lock")
	}
	var partitions int // a lock of one has two numbers, a lock of an id has one
	err := o.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"+
		" AND objsubid = 2 AND pid = $1", int32(tx.Conn().PgConn().PID())).Scan(&partitions)
	if err != nil || partitions != 0 {
		t.Errorf("the commit holds %d partitions, %v", partitions, err)
	}
	o.commit(open)
	commit.end()
	if _, err := o.b.Get(t.Context(), "s", c.ID); err != nil {
		t.Error(err)
	}
}

package postgres_test

import "testing"

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

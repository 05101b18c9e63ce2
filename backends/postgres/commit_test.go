package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// With jit, each request took about 50 ms of its commit, on a server that was built with LLVM.
func TestACommitOfManyRequestsIsFast(t *testing.T) {
	o := newOffice(t)
	tx := o.begin(pgx.TxOptions{})
	for i := range 200 {
		o.order(tx, question(lasting("s"), fmt.Sprint("runtime-", i)))
	}
	start := time.Now()
	o.commit(tx)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the commit of 200 requests took %v", took)
	} else {
		t.Logf("the commit took %v", took)
	}
}

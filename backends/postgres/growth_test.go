package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
)

// fleeting are terms under which everything is soon over.
func fleeting(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: 150 * time.Millisecond,
		RunningTimeout: 100 * time.Millisecond, Retention: 100 * time.Millisecond, MaxAttempts: 2}
}

// TestTheTablesReturnToTheirFirstSize fills and empties the tables three times. It calls VACUUM
// instead of waiting for autovacuum. Indexes keep their pages, and use them again.
func TestTheTablesReturnToTheirFirstSize(t *testing.T) {
	pool := commonPool(t)
	schema := newSchema(t, pool)
	b := open(t, pool, postgres.Options{Schema: schema})
	size := func(what string) (bytes int64) {
		for _, name := range []string{"request", "claim"} {
			var n int64
			sql := fmt.Sprintf("SELECT pg_%s_size($1::text::regclass)", what)
			if err := pool.QueryRow(t.Context(), sql, table(schema, name)).Scan(&n); err != nil {
				t.Fatal(err)
			}
			bytes += n
		}
		return bytes
	}
	var first int64
	for round := range 3 {
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() { soak(t, b, caller, 100) })
		}
		callers.Wait()
		filled := size("relation")
		awaitEmpty(t, schema)
		for _, name := range []string{"request", "claim"} {
			if _, err := pool.Exec(t.Context(), "VACUUM "+table(schema, name)); err != nil {
				t.Fatal(err)
			}
		}
		rows, indexes := size("relation"), size("indexes")
		t.Logf("round %d: %d bytes of rows, then %d; %d of indexes", round, filled, rows, indexes)
		if filled == 0 || rows > filled/2 {
			t.Errorf("round %d: %d bytes of rows have shrunk to only %d", round, filled, rows)
		}
		if first == 0 {
			first = indexes
		}
		if indexes > 3*first {
			t.Errorf("round %d: indexes have grown from %d to %d bytes", round, first, indexes)
		}
	}
}

// soak makes requests that nobody claims, that are claimed by workers that die, and that end.
func soak(t *testing.T, b *postgres.Backend, caller, rounds int) {
	terms := fleeting("s")
	for i := range rounds {
		mailbox := fmt.Sprint("runtime-", caller, "-", i%10)
		c := question(terms, mailbox)
		c.Payload = make([]byte, 1000)
		if _, err := b.Create(t.Context(), c); err != nil {
			t.Error(err)
			return
		}
		if i%3 == 0 {
			continue
		}
		got, err := b.Claim(t.Context(), poll(mailbox, terms))
		if err != nil {
			t.Error(err)
			return
		}
		for _, rec := range got[0].Records {
			if i%3 == 1 {
				_, _ = b.End(t.Context(), report(terms, rec.ID, rec.Attempt)) // it may be over
			}
		}
	}
}

// awaitEmpty waits until the tables have no rows. Nobody calls the backend meanwhile.
func awaitEmpty(t *testing.T, schema string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		var left int
		sql := fmt.Sprintf("SELECT (SELECT count(*) FROM %s WHERE store <> '')"+
			" + (SELECT count(*) FROM %s WHERE until < 'infinity')",
			table(schema, "request"), table(schema, "claim"))
		if err := commonPool(t).QueryRow(ctx, sql).Scan(&left); err != nil {
			t.Fatalf("%v; %d rows are left", err, left)
		}
		if left == 0 {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%d rows are left", left)
		}
	}
}

func TestClaimsAndExtensionsStayHeapOnly(t *testing.T) {
	pool := commonServer(t).pool(t, nil)
	schema := newSchema(t, pool)
	b := open(t, pool, postgres.Options{Schema: schema})
	terms := lasting("s")
	for range 20 {
		c := question(terms, box)
		if _, err := b.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Claim(t.Context(), poll(box, terms)); err != nil {
			t.Fatal(err)
		}
		x := backends.Extend{Terms: terms, ID: c.ID, Attempt: 1}
		if _, err := b.Extend(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	var all, heapOnly int
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for all < 40 { // a connection reports its figures when it ends, or a little later
		pool.Reset()
		err := commonPool(t).QueryRow(ctx, `SELECT
			pg_stat_get_tuples_updated(c), pg_stat_get_tuples_hot_updated(c)
			FROM CAST($1::text AS regclass) c`, table(schema, "request")).Scan(&all, &heapOnly)
		if err != nil {
			t.Fatal(err)
		}
	}
	if heapOnly != all {
		t.Errorf("%d of %d updates were heap-only", heapOnly, all)
	}
}

func TestAnIdlePollOfFiveStoresIsOneProbeOfOneIndex(t *testing.T) {
	pool := commonServer(t).pool(t, nil)
	schema := newSchema(t, pool)
	b := open(t, pool, postgres.Options{Schema: schema})
	const polls = 20
	for range polls {
		idle := poll(box, lasting("a"), lasting("b"), lasting("c"), lasting("d"), lasting("e"))
		if _, err := b.Claim(t.Context(), idle); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for probes := 0; probes < polls; {
		pool.Reset() // a connection reports its figures when it ends, or a little later
		var others int
		err := commonPool(t).QueryRow(ctx, `SELECT
			coalesce(sum(idx_scan) FILTER (WHERE indexrelname = 'request_live'), 0),
			coalesce(sum(idx_scan) FILTER (WHERE indexrelname <> 'request_live'), 0)
			FROM pg_stat_all_indexes WHERE schemaname = $1 AND relname <> 'version'`, schema).
			Scan(&probes, &others)
		if err != nil || probes > polls || others > 0 {
			t.Fatalf("%d polls: %d probes, and %d of other indexes, %v", polls, probes, others, err)
		}
	}
}

// Requests that have timed out stay until the sweep. Only index scans are counted, so there are no
// others.
func TestAPageOfMailboxesReadsFewRowsOfEach(t *testing.T) {
	o := newOffice(t)
	c := question(lasting("s"), box)
	if _, err := o.b.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	o.exec(o.pool, "UPDATE "+table(o.schema, "request")+past("90 min"))
	const columns = "store, mailbox, live, status, attempt, codec, payload, created, updated, " +
		"deadline, last_deadline, rank, expires, sweep"
	requests := table(o.schema, "request")
	o.exec(o.pool, "INSERT INTO "+requests+" (id, "+columns+") SELECT n::text, "+columns+
		" FROM "+requests+", generate_series(1, 1000) n WHERE store <> ''")
	pool := commonServer(t).pool(t, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
		c.ConnConfig.RuntimeParams["enable_bitmapscan"] = "off"
	})
	b := open(t, pool, postgres.Options{Schema: o.schema})
	page, err := b.Mailboxes(t.Context(), "s", "", 10)
	if err != nil || !slices.Equal(page.Mailboxes, []string{box}) {
		t.Errorf("got %v, %v, want the mailbox, which recently had live requests", page, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for probes, rows := 0, 0; probes == 0; {
		pool.Reset() // a connection reports its figures when it ends, or a little later
		err := o.pool.QueryRow(ctx, `SELECT
			sum(idx_scan) FILTER (WHERE indexrelname = 'request_live'), sum(idx_tup_read)
			FROM pg_stat_all_indexes WHERE schemaname = $1 AND relname = 'request'`, o.schema).
			Scan(&probes, &rows)
		if err != nil || rows > 10 {
			t.Fatalf("a page of one mailbox read %d rows, %v", rows, err)
		}
	}
}

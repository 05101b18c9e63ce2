package postgres_test

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/postgres"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	commonPool(t)
	backendtest.Run(t, func(t *testing.T) backends.Backend { return openNew(t) })
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

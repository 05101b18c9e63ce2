package postgres_test

import (
	"reflect"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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

// Answers are read in binary, which pgx does not ask for in each of these modes.
func TestAPoolMayExecuteStatementsInAnyMode(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement,
		pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			pool := commonServer(t).pool(t, func(c *pgxpool.Config) {
				c.ConnConfig.DefaultQueryExecMode = mode
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
		})
	}
}

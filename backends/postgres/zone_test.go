package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends/postgres"
)

// PostgreSQL gives the difference of two times in days and hours. A day has 23 or 25 hours when the
// clocks of the session's time zone change. In Berlin this happens after 147 to 154 and 210 to 217
// days in turn. So at any time of the year, one such change lies within either 120 or 240 days.
func TestATimeZoneWithSummerTimeDoesNotMoveADeadlineAtTheCommit(t *testing.T) {
	o := &office{T: t}
	o.pool = commonServer(t).pool(t, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["timezone"] = "Europe/Berlin"
	})
	o.schema = newSchema(t, o.pool)
	o.b = open(t, o.pool, postgres.Options{Schema: o.schema})
	o.orders = table(o.schema, "orders")
	o.exec(o.pool, "CREATE TABLE "+o.orders+" (id text)")
	for _, days := range []time.Duration{120, 240} {
		terms := lasting("s")
		terms.PendingTimeout = days * 24 * time.Hour
		c, tx := question(terms, box), o.begin(pgx.TxOptions{})
		o.order(tx, c)
		o.commit(tx)
		rec, err := o.b.Get(t.Context(), "s", c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got := rec.Deadline.Sub(rec.CreatedAt); got != terms.PendingTimeout {
			t.Errorf("after the commit the request may wait %v, want %v", got, terms.PendingTimeout)
		}
	}
}

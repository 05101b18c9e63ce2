package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// office is a backend with a table of the application beside it.
type office struct {
	*testing.T
	pool   *pgxpool.Pool
	b      *postgres.Backend
	schema string
	orders string // the table
}

func newOffice(t *testing.T) *office {
	o := &office{T: t, pool: commonPool(t)}
	o.schema = newSchema(t, o.pool)
	o.b = open(t, o.pool, postgres.Options{Schema: o.schema})
	o.orders = table(o.schema, "orders")
	o.exec(o.pool, "CREATE TABLE "+o.orders+" (id text)")
	return o
}

func (o *office) exec(on interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}, sql string, args ...any) {
	o.Helper()
	if _, err := on.Exec(o.Context(), sql, args...); err != nil {
		o.Fatal(err)
	}
}

// begin begins a transaction, which is rolled back with the test unless it was ended.
func (o *office) begin(opts pgx.TxOptions) pgx.Tx {
	o.Helper()
	tx, err := o.pool.BeginTx(o.Context(), opts)
	if err != nil {
		o.Fatal(err)
	}
	o.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

// order stores an order and a request in a transaction.
func (o *office) order(tx pgx.Tx, c backends.Create) backends.Record {
	o.Helper()
	o.exec(tx, "INSERT INTO "+o.orders+" VALUES ($1)", c.ID)
	rec, err := o.b.Create(postgres.InTx(o.Context(), tx), c)
	if err != nil {
		o.Fatal(err)
	}
	return rec
}

func (o *office) commit(tx pgx.Tx) {
	o.Helper()
	if err := tx.Commit(o.Context()); err != nil {
		o.Fatal(err)
	}
}

func (o *office) ordered() (n int) {
	o.Helper()
	if err := o.pool.QueryRow(o.Context(), "SELECT count(*) FROM "+o.orders).Scan(&n); err != nil {
		o.Fatal(err)
	}
	return n
}

func TestARollbackLeavesNeitherRowNorRequest(t *testing.T) {
	o, c := newOffice(t), question(lasting("s"), box)
	tx := o.begin(pgx.TxOptions{})
	o.order(tx, c)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := o.b.Get(t.Context(), "s", c.ID)
	if n := o.ordered(); !errors.Is(err, backends.ErrNotFound) || n != 0 {
		t.Errorf("after a rollback: %d orders, and the request: %v", n, err)
	}
	got, err := o.b.Claim(t.Context(), poll(box, c.Terms))
	if err != nil || len(got[0].Records) != 0 {
		t.Errorf("claimed %v, %v, want no requests", got, err)
	}
}

func TestARequestIsVisibleWithItsCommitAndWakesTheWaiter(t *testing.T) {
	o, c := newOffice(t), question(lasting("s"), box)
	another := open(t, o.pool, postgres.Options{Schema: o.schema})
	waiters := map[string]*postgres.Backend{"in-this-process": o.b, "in-another": another}
	for mailbox, waiter := range waiters {
		t.Run(mailbox, func(t *testing.T) {
			c.ID, c.Mailbox = backends.NewID(mailbox), mailbox
			warmUp(t, waiter)
			woken, stop := waiter.WatchMailbox(t.Context(), mailbox)
			defer stop()
			tx := o.begin(pgx.TxOptions{})
			o.order(tx, c)
			if _, err := o.b.Get(t.Context(), "s", c.ID); !errors.Is(err, backends.ErrNotFound) {
				t.Errorf("before the commit: %v, want ErrNotFound", err)
			}
			got, err := o.b.Claim(t.Context(), poll(mailbox, c.Terms))
			if err != nil || len(got[0].Records) != 0 {
				t.Errorf("before the commit: claimed %v, %v", got, err)
			}
			select {
			case <-woken:
				t.Error("woken before the commit")
			default:
			}
			o.commit(tx)
			awaitSignal(t, woken)
			got, err = o.b.Claim(t.Context(), poll(mailbox, c.Terms))
			if err != nil || len(got[0].Records) != 1 || got[0].Records[0].ID != c.ID {
				t.Errorf("after the commit: claimed %v, %v", got, err)
			}
		})
	}
}

// warmUp waits until a new backend listens. Then it signals all waiters, but no later ones.
func warmUp(t *testing.T, b *postgres.Backend) {
	t.Helper()
	signal, stop := b.WatchMailbox(t.Context(), "warm-up")
	defer stop()
	awaitSignal(t, signal)
}

func awaitSignal(t *testing.T, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(30 * time.Second):
		t.Fatal("no signal came")
	}
}

func TestALongTransactionMakesNoRequestDeadOnArrival(t *testing.T) {
	o, c := newOffice(t), question(lasting("s"), box)
	tx := o.begin(pgx.TxOptions{})
	o.order(tx, c)
	o.exec(tx, "UPDATE "+table(o.schema, "request")+past("1 day"))
	c2 := c
	c2.ID, c2.PendingTimeout = backends.NewID(box), 2*time.Hour
	made := o.order(tx, c2)
	o.commit(tx)
	for _, c := range []backends.Create{c, c2} {
		got, err := o.b.Get(t.Context(), "s", c.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, deadline := range []time.Time{got.Deadline, got.LastDeadline} {
			if lives := deadline.Sub(got.CreatedAt); lives != c.PendingTimeout {
				t.Errorf("it lives for %v, want %v", lives, c.PendingTimeout)
			}
		}
		if !got.CreatedAt.After(made.CreatedAt) {
			t.Errorf("created at %v, want the time of the commit, after %v",
				got.CreatedAt, made.CreatedAt)
		}
		claimed, err := o.b.Claim(t.Context(), poll(box, c.Terms))
		if err != nil || len(claimed[0].Records) != 1 || claimed[0].Records[0].ID != c.ID {
			t.Errorf("claimed %v, %v, want %s", claimed, err, c.ID)
		}
	}
	var arriving int
	sql := "SELECT count(*) FROM " + table(o.schema, "arrival")
	if err := o.pool.QueryRow(t.Context(), sql).Scan(&arriving); err != nil || arriving != 0 {
		t.Errorf("%d arrivals are left, %v", arriving, err)
	}
}

func TestALongTransactionHoldsNobodyUp(t *testing.T) {
	o := newOffice(t)
	terms := lasting("s")
	terms.MaxPending = 1
	tx := o.begin(pgx.TxOptions{})
	o.order(tx, question(terms, box))
	other := question(terms, box)
	if _, err := o.b.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	got, err := o.b.Claim(t.Context(), poll(box, terms))
	if err != nil || len(got[0].Records) != 1 || got[0].Records[0].ID != other.ID {
		t.Errorf("claimed %v, %v", got, err)
	}
	o.commit(tx)
}

func TestARefusedCreateLeavesItsTransactionUsable(t *testing.T) {
	o := newOffice(t)
	terms := lasting("s")
	terms.Exclusive = true
	tx := o.begin(pgx.TxOptions{})
	o.order(tx, question(terms, box))
	_, err := o.b.Create(postgres.InTx(t.Context(), tx), question(terms, box))
	if !errors.Is(err, backends.ErrBusy) {
		t.Errorf("a second one: got %v, want ErrBusy", err)
	}
	o.exec(tx, "SELECT 1")
	o.commit(tx)
}

func TestACommitIsRefusedWhenOthersCameFirst(t *testing.T) {
	exclusive, capped := lasting("exclusive"), lasting("capped")
	exclusive.Exclusive, capped.MaxPending = true, 1
	for code, terms := range map[string]backends.Terms{
		postgres.CommitBusy: exclusive, postgres.CommitFull: capped,
	} {
		t.Run(terms.Store, func(t *testing.T) {
			o, c := newOffice(t), question(terms, box)
			tx := o.begin(pgx.TxOptions{})
			o.order(tx, c)
			if _, err := o.b.Create(t.Context(), question(terms, box)); err != nil {
				t.Fatal(err)
			}
			err := tx.Commit(t.Context())
			var refused *pgconn.PgError
			if !errors.As(err, &refused) || refused.Code != code {
				t.Errorf("the commit: got %v, want code %s", err, code)
			}
			if n := o.ordered(); n != 0 {
				t.Errorf("%d orders are there", n)
			}
		})
	}
}

func TestCommitsNeverDeadlock(t *testing.T) {
	boxes := []string{"a", "b", "c"}
	slices.SortFunc(boxes, func(x, y string) int {
		return strings.Compare(backends.Partition(x), backends.Partition(y))
	})
	low, middle, high := boxes[0], boxes[1], boxes[2]
	free, capped := lasting("free"), lasting("capped")
	capped.MaxPending = 100
	for name, creates := range map[string][2][]backends.Create{
		"one mailbox, with a limit and without": {
			{question(free, middle), question(capped, middle)},
			{question(free, middle), question(capped, middle)}},
		"mailboxes in opposite orders": {
			{question(capped, high), question(capped, middle), question(capped, low)},
			{question(capped, low), question(capped, high)}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			holder := o.begin(pgx.TxOptions{}) // holds the first commit up, and that the second
			o.exec(holder, "SELECT "+table(o.schema, "lock_mailbox")+
				"(('x' || $1::text)::bit(16)::int)", backends.Partition(middle))
			ended := make(chan error, len(creates))
			for i, list := range creates {
				tx := o.begin(pgx.TxOptions{})
				for _, c := range list {
					o.order(tx, c)
				}
				go func() { ended <- tx.Commit(context.Background()) }()
				o.awaitCommits(i + 1)
			}
			o.commit(holder)
			for range creates {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// awaitCommits waits until so many commits wait for a lock.
func (o *office) awaitCommits(n int) {
	o.Helper()
	for waiting := 0; waiting < n; {
		err := o.pool.QueryRow(o.Context(), `SELECT count(*)
			FROM pg_locks l JOIN pg_stat_activity a USING (pid), pg_sleep(0.01)
			WHERE l.locktype = 'advisory' AND NOT l.granted
				AND a.query = 'commit'`).Scan(&waiting)
		if err != nil {
			o.Fatal(err)
		}
	}
}

func TestARepeatInATransactionReturnsTheFirstRequest(t *testing.T) {
	o, c := newOffice(t), question(lasting("s"), box)
	tx := o.begin(pgx.TxOptions{})
	o.order(tx, c)
	again, err := o.b.Create(postgres.InTx(t.Context(), tx), c)
	if err != nil || again.ID != c.ID {
		t.Errorf("got %v, %v", again, err)
	}
	o.commit(tx)
	got, err := o.b.Claim(t.Context(), poll(box, c.Terms))
	if err != nil || len(got[0].Records) != 1 {
		t.Errorf("claimed %v, %v", got, err)
	}
}

func TestARepeatableReadTransactionIsRefusedWhereItWouldBeWrong(t *testing.T) {
	o := newOffice(t)
	tx := o.begin(pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	o.order(tx, question(lasting("s"), box))
	terms := lasting("exclusive")
	terms.Exclusive = true
	if _, err := o.b.Create(postgres.InTx(t.Context(), tx), question(terms, box)); err == nil {
		t.Error("an Exclusive request was created in a REPEATABLE READ transaction")
	}
}

func TestAStoreCreatesInATransaction(t *testing.T) {
	o := newOffice(t)
	store, err := pending.New(o.b, codec.JSON[string](), pending.Policy{Name: "jobs",
		PendingTimeout: time.Hour, RunningTimeout: time.Hour, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	tx := o.begin(pgx.TxOptions{})
	made, err := store.Create(postgres.InTx(t.Context(), tx), box, "ship it")
	if err != nil {
		t.Fatal(err)
	}
	if has, err := store.HasPending(t.Context(), box); has || err != nil {
		t.Errorf("before the commit: %v, %v", has, err)
	}
	claimed := make(chan string)
	go func() {
		claim, err := store.AwaitPending(t.Context(), box)
		if err != nil {
			t.Error(err)
			close(claimed)
			return
		}
		claimed <- claim.ID
	}()
	o.commit(tx)
	if got := <-claimed; got != made.ID {
		t.Errorf("claimed %s, want %s", got, made.ID)
	}
}

func TestARepeatInATransactionMayComeAfterTheRequestExpired(t *testing.T) {
	o, c := newOffice(t), question(lasting("s"), box)
	tx := o.begin(pgx.TxOptions{})
	first := o.order(tx, c)
	o.exec(tx, "UPDATE "+table(o.schema, "request")+past("1 day"))
	if again := o.order(tx, c); !again.CreatedAt.After(first.CreatedAt) {
		t.Errorf("the repeat got the expired request: %+v", again)
	}
	o.commit(tx)
}

package postgres_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
)

// contender is an operation and its locks. Each operation also locks the mailbox, mostly shared.
type contender struct {
	name    string
	alone   bool // it locks the mailbox alone
	id      bool // it locks its request
	creates bool // it takes turns with other creators of its id
	do      func(a *arena) (at time.Time, err error)
}

var contenders = []contender{
	{"create", false, false, true, func(a *arena) (time.Time, error) { return a.create(a.fresh) }},
	{"create with a limit", true, false, true, func(a *arena) (time.Time, error) {
		a.fresh.MaxPending = 1000
		return a.create(a.fresh)
	}},
	{"create again", false, true, true, func(a *arena) (time.Time, error) {
		a.fresh.ID = a.running.ID
		return a.create(a.fresh)
	}},
	{"commit", false, false, true,
		func(a *arena) (time.Time, error) { return a.commitOf(a.fresh) }},
	{"commit with a limit", true, false, true, func(a *arena) (time.Time, error) {
		a.fresh.MaxPending = 1000
		return a.commitOf(a.fresh)
	}},
	{"get", false, true, false, func(a *arena) (time.Time, error) {
		rec, err := a.b.Get(a.Context(), "s", a.running.ID)
		return rec.ReadAt, err
	}},
	{"get_request", false, true, false, func(a *arena) (time.Time, error) {
		return a.call("get_request($1, 's', $2)", a.part, a.running.ID)
	}},
	{"has pending", true, false, false, func(a *arena) (time.Time, error) {
		_, err := a.b.HasPending(a.Context(), "s", box)
		return time.Time{}, err
	}},
	{"claim", true, false, false, func(a *arena) (time.Time, error) {
		got, err := a.b.Claim(a.Context(), poll(box, a.fresh.Terms))
		if err != nil {
			return time.Time{}, err
		}
		return got[0].Records[0].ReadAt, nil
	}},
	{"claimed_requests", true, false, false, func(a *arena) (time.Time, error) {
		return a.call("claimed_requests($1, $2, $3, '{s}')", a.part, a.claim, []byte(box))
	}},
	{"extend", false, true, false, func(a *arena) (time.Time, error) {
		x := backends.Extend{Terms: a.fresh.Terms, ID: a.running.ID, Attempt: 1}
		lease, err := a.b.Extend(a.Context(), x)
		return lease.UpdatedAt, err
	}},
	{"cancel", false, true, false, func(a *arena) (time.Time, error) {
		c := backends.Cancel{Terms: a.fresh.Terms, ID: a.running.ID, Outcome: "cancelled"}
		rec, err := a.b.Cancel(a.Context(), c)
		return rec.UpdatedAt, err
	}},
	{"end", false, true, false, func(a *arena) (time.Time, error) {
		rec, err := a.b.End(a.Context(), report(a.fresh.Terms, a.running.ID, 1))
		return rec.UpdatedAt, err
	}},
	{"end_request", false, true, false, func(a *arena) (time.Time, error) {
		return a.call("end_request($1, 's', $2, 1, NULL, 'completed', '', 'raw', '', '1 h')",
			a.part, a.running.ID)
	}},
}

// locks are the locks that another transaction may hold, and which operations wait for each.
var locks = []struct {
	name  string
	take  func(a *arena, tx pgx.Tx, id string)
	waits func(c contender) bool
}{
	{"the mailbox", func(a *arena, tx pgx.Tx, _ string) {
		a.exec(tx, "SELECT "+table(a.schema, "lock_mailbox($1)"), a.part)
	}, func(contender) bool { return true }},
	{"a share of the mailbox", func(a *arena, tx pgx.Tx, _ string) {
		a.exec(tx, "SELECT "+table(a.schema, "lock_to_add($1, false)"), a.part)
	}, func(c contender) bool { return c.alone }},
	{"the request, and a share of the mailbox", func(a *arena, tx pgx.Tx, id string) {
		a.exec(tx, "SELECT "+table(a.schema, "lock_request($1, $2)"), a.part, id)
	}, func(c contender) bool { return c.alone || c.id }},
	{"the creation of the request", func(a *arena, tx pgx.Tx, id string) {
		c := a.fresh
		c.ID = id
		a.order(tx, c)
	}, func(c contender) bool { return c.creates }},
}

// An operation that does not wait could change a record that another operation has read. An
// operation that waits without need is slow. All waits are for advisory locks: an operation that
// waits for a row of a caller's transaction holds its own locks meanwhile.
func TestAnOperationWaitsForExactlyTheLocksThatItNeeds(t *testing.T) {
	a := newArena(t)
	for _, c := range contenders {
		for _, lock := range locks {
			a.arrange()
			id := a.fresh.ID
			if c.id {
				id = a.running.ID
			}
			tx := a.begin(pgx.TxOptions{})
			lock.take(a, tx, id)
			op := a.start(c.do)
			waited := op.waitsFor(tx)
			if want := lock.waits(c); waited != want {
				t.Errorf("%s: waited for %s: %v, want %v", c.name, lock.name, waited, want)
			}
			released := a.clock(tx)
			a.commit(tx)
			at := op.end()
			if waited && !at.IsZero() && !at.After(released) {
				t.Errorf("%s: happened at %v, before it got %s at %v", c.name, at, lock.name,
					released)
			}
		}
	}
}

func TestGetSeesTheEndForWhichItHasWaited(t *testing.T) {
	a := newArena(t)
	a.arrange()
	tx := a.begin(pgx.TxOptions{})
	a.exec(tx, "SELECT "+table(a.schema, "end_request($1, 's', $2, 1, NULL, 'completed', '', "+
		"'raw', '', '1 h')"), a.part, a.running.ID)
	got := make(chan string, 1)
	op := a.start(func(a *arena) (time.Time, error) {
		rec, err := a.b.Get(a.Context(), "s", a.running.ID)
		got <- rec.Status
		return time.Time{}, err
	})
	if !op.waitsFor(tx) {
		t.Error("Get has not waited")
	}
	a.commit(tx)
	op.end()
	if status := <-got; status != backends.StatusCompleted {
		t.Errorf("got %s, want completed", status)
	}
}

func TestGetOfAnEndedRequestDoesNotWait(t *testing.T) {
	a := newArena(t)
	a.arrange()
	if _, err := a.b.End(t.Context(), report(a.fresh.Terms, a.running.ID, 1)); err != nil {
		t.Fatal(err)
	}
	tx := a.begin(pgx.TxOptions{})
	a.exec(tx, "SELECT "+table(a.schema, "lock_mailbox($1)"), a.part)
	op := a.start(func(a *arena) (time.Time, error) {
		rec, err := a.b.Get(a.Context(), "s", a.running.ID)
		return rec.ReadAt, err
	})
	if op.waitsFor(tx) {
		t.Error("Get has waited")
	}
	a.commit(tx)
	op.end()
}

// The request has timed out unless End sees the extension. The end also removes a noted cancel.
func TestEndSeesTheExtensionForWhichItHasWaited(t *testing.T) {
	a := newArena(t)
	a.arrange()
	a.exec(a.pool, "UPDATE "+table(a.schema, "request")+
		" SET deadline = now(), last_deadline = now() WHERE id = $1", a.running.ID)
	tx := a.begin(pgx.TxOptions{})
	a.exec(tx, "SELECT "+table(a.schema, "lock_request($1, $2)"), a.part, a.running.ID)
	a.exec(tx, "UPDATE "+table(a.schema, "request")+" SET deadline = now() + interval '1 h', "+
		"last_deadline = now() + interval '1 h', cancelled_as = 'cancelled' WHERE id = $1",
		a.running.ID)
	op := a.start(func(a *arena) (time.Time, error) {
		rec, err := a.b.End(a.Context(), report(a.fresh.Terms, a.running.ID, 1))
		return rec.UpdatedAt, err
	})
	if !op.waitsFor(tx) {
		t.Error("End has not waited")
	}
	a.commit(tx)
	op.end()
	rec, err := a.b.Get(t.Context(), "s", a.running.ID)
	if err != nil || rec.Status != backends.StatusCompleted || rec.CancelledAs != "" {
		t.Errorf("got %+v, %v", rec, err)
	}
}

// arena is an office with requests for one operation at a time. Nothing is swept.
type arena struct {
	*office
	part    int
	fresh   backends.Create // does not exist
	running backends.Record
	claim   string // the id of its claim
}

func newArena(t *testing.T) *arena {
	part, err := strconv.ParseUint(backends.Partition(box), 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	a := &arena{office: newOffice(t), part: int(part)}
	if err := a.b.Close(); err != nil {
		t.Fatal(err)
	}
	return a
}

// arrange makes a running and a pending request.
func (a *arena) arrange() {
	a.Helper()
	terms := lasting("s")
	for range 2 {
		if _, err := a.b.Create(a.Context(), question(terms, box)); err != nil {
			a.Fatal(err)
		}
	}
	a.fresh, a.running = question(terms, box), a.claimOne(terms)
}

// claimOne claims a request, and sets claim.
func (a *arena) claimOne(terms backends.Terms) backends.Record {
	a.Helper()
	p := poll(box, terms)
	got, err := a.b.Claim(a.Context(), p)
	if err != nil || len(got[0].Records) != 1 {
		a.Fatalf("claimed %v, %v", got, err)
	}
	a.claim = p.ID
	return got[0].Records[0]
}

func (a *arena) create(c backends.Create) (time.Time, error) {
	rec, err := a.b.Create(a.Context(), c)
	return rec.ReadAt, err
}

// commitOf commits a create in a transaction of its own.
func (a *arena) commitOf(c backends.Create) (at time.Time, err error) {
	err = pgx.BeginFunc(a.Context(), a.pool, func(tx pgx.Tx) error {
		_, err := a.b.Create(postgres.InTx(a.Context(), tx), c)
		return err
	})
	if err != nil {
		return at, err
	}
	err = a.pool.QueryRow(a.Context(), "SELECT created FROM "+table(a.schema, "request")+
		" WHERE id = $1", c.ID).Scan(&at)
	return at, err
}

// call calls a function that returns an answer, and returns its time.
func (a *arena) call(function string, args ...any) (at time.Time, err error) {
	sql := "SELECT now FROM " + table(a.schema, function)
	err = a.pool.QueryRow(a.Context(), sql, args...).Scan(&at)
	return at, err
}

func (a *arena) clock(tx pgx.Tx) (now time.Time) {
	a.Helper()
	if err := tx.QueryRow(a.Context(), "SELECT clock_timestamp()").Scan(&now); err != nil {
		a.Fatal(err)
	}
	return now
}

// attempt is an operation that runs in a goroutine.
type attempt struct {
	*arena
	done chan struct{}
	at   time.Time
	err  error
}

func (a *arena) start(do func(*arena) (time.Time, error)) *attempt {
	op := &attempt{arena: a, done: make(chan struct{})}
	go func() {
		defer close(op.done)
		op.at, op.err = do(a)
	}()
	return op
}

// end waits for the end of the operation, and returns its time.
func (op *attempt) end() time.Time {
	op.Helper()
	<-op.done
	if op.err != nil {
		op.Error(op.err)
	}
	return op.at
}

// waitsFor waits until the operation either ends or waits for an advisory lock of a transaction.
func (op *attempt) waitsFor(tx pgx.Tx) bool {
	op.Helper()
	ctx, cancel := context.WithTimeout(op.Context(), time.Minute)
	defer cancel()
	for {
		var on string
		err := op.pool.QueryRow(ctx, `SELECT coalesce(min(wait_event), '')
			FROM pg_stat_activity, pg_sleep(0.005)
			WHERE wait_event_type = 'Lock' AND $1 = ANY (pg_blocking_pids(pid))`,
			int32(tx.Conn().PgConn().PID())).Scan(&on)
		if err != nil {
			op.Fatal(err)
		}
		if on != "" {
			return on == "advisory"
		}
		select {
		case <-op.done:
			return false
		default:
		}
	}
}

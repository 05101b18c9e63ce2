package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pendingq/pendingq/backends"
)

// past returns the end of an UPDATE that moves requests into the past.
func past(by string) string {
	set := ""
	for _, column := range []string{"created", "updated", "deadline", "last_deadline", "rank",
		"expires"} {
		set += column + " = " + column + " - interval '" + by + "', "
	}
	return " SET " + set + "sweep = sweep - interval '" + by + "' WHERE store <> ''"
}

func TestAnExpiredRequestIsGoneBeforeItIsSwept(t *testing.T) {
	a := newArena(t)
	a.arrange()
	a.age("request")
	ctx, id, terms := t.Context(), a.running.ID, a.fresh.Terms
	_, get := a.b.Get(ctx, "s", id)
	_, extend := a.b.Extend(ctx, backends.Extend{Terms: terms, ID: id, Attempt: 1})
	_, cancel := a.b.Cancel(ctx, backends.Cancel{Terms: terms, ID: id, Outcome: "cancelled"})
	_, end := a.b.End(ctx, report(terms, id, 1))
	for name, err := range map[string]error{
		"get": get, "extend": extend, "cancel": cancel, "end": end} {
		if !errors.Is(err, backends.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", name, err)
		}
	}
	a.fresh.ID = id
	rec, err := a.b.Create(ctx, a.fresh)
	if err != nil || rec.Status != backends.StatusPending {
		t.Errorf("created again: got %+v, %v", rec, err)
	}
}

// All terms are an hour, and another attempt is left.
func TestARecordOutlivesItsLastDeadline(t *testing.T) {
	terms := lasting("s")
	terms.MaxAttempts = 2
	for name, tc := range map[string]struct {
		after  string // when the record is over, but still there
		change func(a *arena, id string) error
		status string
	}{
		"claimed": {"150 min", func(*arena, string) error { return nil }, backends.StatusTimeout},
		"released": {"150 min", func(a *arena, id string) error {
			a.exec(a.pool, "UPDATE "+table(a.schema, "request")+past("1 hour"))
			x := backends.Extend{Terms: terms, ID: id, Attempt: 1, Release: true, After: time.Hour}
			_, err := a.b.Extend(t.Context(), x)
			return err
		}, backends.StatusTimeout},
		"cancelled": {"90 min", func(a *arena, id string) error {
			c := backends.Cancel{Terms: terms, ID: id, Outcome: "withdrawn", Grace: time.Hour}
			_, err := a.b.Cancel(t.Context(), c)
			return err
		}, "withdrawn"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			a.fresh = question(terms, box)
			if _, err := a.create(a.fresh); err != nil {
				t.Fatal(err)
			}
			rec := a.claimOne(terms)
			if left := rec.LastDeadline.Sub(rec.Deadline); left != time.Hour {
				t.Errorf("another attempt may follow within %v, want an hour", left)
			}
			if err := tc.change(a, rec.ID); err != nil {
				t.Fatal(err)
			}
			a.exec(a.pool, "UPDATE "+table(a.schema, "request")+past(tc.after))
			got, err := a.b.Get(t.Context(), "s", rec.ID)
			if err != nil || got.Status != tc.status {
				t.Errorf("got %+v, %v, want %s", got, err, tc.status)
			}
		})
	}
}

func TestAnIdThatHasExpiredIsNewToAnExclusiveStore(t *testing.T) {
	a := newArena(t)
	terms := lasting("exclusive")
	terms.Exclusive = true
	first := question(terms, box)
	if _, err := a.b.Create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	a.age("request")
	if _, err := a.b.Create(t.Context(), question(terms, box)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.b.Create(t.Context(), first); !errors.Is(err, backends.ErrBusy) {
		t.Errorf("the first one again: got %v, want ErrBusy", err)
	}
}

// beforeInsert makes a statement run right before a request is stored, after the check of the
// limits.
func (a *arena) beforeInsert(statement string) {
	a.Helper()
	requests, during := table(a.schema, "request"), table(a.schema, "during()")
	a.exec(a.pool, "CREATE FUNCTION "+during+" RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "+
		fmt.Sprintf(statement, requests)+"; RETURN NEW; END $$")
	a.exec(a.pool, "CREATE TRIGGER during BEFORE INSERT ON "+requests+
		" FOR EACH ROW EXECUTE FUNCTION "+during)
}

// The repeat may return the first request, which was still there, or be refused.
func TestAnIdThatExpiresDuringItsRepeatDoesNotPassTheLimits(t *testing.T) {
	for name, change := range map[string]string{
		"expires":  "UPDATE %s SET expires = clock_timestamp() WHERE id = NEW.id",
		"is swept": "DELETE FROM %s WHERE id = NEW.id",
	} {
		t.Run(name, func(t *testing.T) {
			a, terms := newArena(t), lasting("exclusive")
			terms.Exclusive = true
			first, second := question(terms, box), question(terms, box)
			if _, err := a.create(first); err != nil {
				t.Fatal(err)
			}
			if _, err := a.b.End(t.Context(), report(terms, first.ID, 0)); err != nil {
				t.Fatal(err)
			}
			if _, err := a.create(second); err != nil {
				t.Fatal(err)
			}
			a.beforeInsert(change)
			rec, err := a.b.Create(t.Context(), first)
			if err == nil && rec.Status == backends.StatusPending {
				t.Error("the repeat stored a second live request")
			}
		})
	}
}

// Otherwise a lease could expire between the check and the create, and the mailbox hold too many.
func TestACreateWithALimitHappensWhenTheLimitIsChecked(t *testing.T) {
	a, terms := newArena(t), lasting("capped")
	terms.MaxPending = 10
	first, second := question(terms, box), question(terms, box)
	if _, err := a.create(first); err != nil {
		t.Fatal(err)
	}
	a.age("request")
	if _, err := a.create(second); err != nil {
		t.Fatal(err)
	}
	a.beforeInsert("UPDATE %s SET updated = clock_timestamp() " +
		"WHERE id <> NEW.id AND updated = created")
	again, err := a.create(first)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := a.b.Get(t.Context(), "capped", second.ID); err != nil ||
		!again.Before(other.UpdatedAt) {
		t.Errorf("created at %v, after a change at %v, %v", again, other.UpdatedAt, err)
	}
}

func TestAnExpiredMemoIsForgottenBeforeItIsSwept(t *testing.T) {
	a := newArena(t)
	p := poll(box, lasting("s"))
	claim := func(when string, want ...string) {
		t.Helper()
		got, err := a.b.Claim(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, rec := range got[0].Records {
			ids = append(ids, rec.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%s: claimed %v, want %v", when, ids, want)
		}
	}
	var made []string
	create := func() {
		t.Helper()
		c := question(lasting("s"), box)
		if _, err := a.b.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		made = append(made, c.ID)
	}
	create()
	claim("at first", made[0])
	claim("again", made[0])
	a.age("claim")
	claim("with an expired memo")
	create()
	claim("with an expired memo and a request", made[1])
	claim("again", made[1])
}

// age moves the requests or the memos into the past.
func (a *arena) age(name string) {
	a.Helper()
	set := past("1 day")
	if name == "claim" {
		set = " SET until = until - interval '1 day'"
	}
	a.exec(a.pool, "UPDATE "+table(a.schema, name)+set)
}

func TestTheSweepFreesOnlyWhatHasExpired(t *testing.T) {
	a := newArena(t)
	a.arrange()
	a.arrange()
	a.age("request")
	a.age("claim")
	a.arrange() // one more memo, and two requests whose time of sweep has come
	live := a.running
	a.exec(a.pool, "UPDATE "+table(a.schema, "request")+
		" SET sweep = sweep - interval '2 days' WHERE expires > now() AND store <> ''")

	tx := a.begin(pgx.TxOptions{})
	a.exec(tx, "SELECT "+table(a.schema, "sweep(0)"))
	a.sweep("beside another sweep", 1, 0)
	a.commit(tx)
	a.sweep("one of each kind", 1, 3) // an expired request, a live one and a memo
	a.sweep("some", 2, 4)
	next := a.sweep("the last", 2, 1)
	if next == nil || !next.After(live.ReadAt) {
		t.Errorf("the next is due at %v, want when the live memo expires", next)
	}
	if got, err := a.b.Get(t.Context(), "s", live.ID); err != nil || got.Attempt != 1 {
		t.Errorf("the live request: got %+v, %v", got, err)
	}
	p := poll(box, lasting("s"))
	p.ID = a.claim
	if got, err := a.b.Claim(t.Context(), p); err != nil || got[0].Records[0].ID != live.ID {
		t.Errorf("the live memo: got %v, %v", got, err)
	}
	a.age("request")
	a.age("claim")
	if next := a.sweep("all", 100, 3); next != nil {
		t.Errorf("the next is due at %v, want never", next)
	}
}

// sweep sweeps up to most rows of each kind. It checks how many it has changed, and returns when
// the next row is due.
func (a *arena) sweep(what string, most, want int) (next *time.Time) {
	a.Helper()
	var done int
	sql := "SELECT done, next FROM " + table(a.schema, "sweep($1)")
	if err := a.pool.QueryRow(a.Context(), sql, most).Scan(&done, &next); err != nil {
		a.Fatal(err)
	}
	if done != want {
		a.Errorf("%s: swept %d rows, want %d", what, done, want)
	}
	return next
}

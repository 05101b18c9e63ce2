package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
)

// campaign is requests that workers end while the server suffers.
type campaign struct {
	*testing.T
	b     *postgres.Backend
	terms backends.Terms

	mu   sync.Mutex
	wins map[string][]string // by request: the payloads whose End succeeded
}

func newCampaign(t *testing.T, pool *pgxpool.Pool) *campaign {
	t.Helper()
	terms := lasting("s")
	terms.RunningTimeout, terms.MaxAttempts = 5*time.Second, 1000
	b := open(t, pool, postgres.Options{Schema: newSchema(t, pool)})
	return &campaign{T: t, b: b, terms: terms, wins: map[string][]string{}}
}

// insist repeats a call until the server has decided it.
func (c *campaign) insist(call func(ctx context.Context) error) error {
	for {
		ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
		err := call(ctx)
		cancel()
		if err == nil || errors.Is(err, backends.ErrEnded) ||
			errors.Is(err, backends.ErrStaleClaim) || errors.Is(err, backends.ErrNotFound) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.Context().Done():
			return err
		}
	}
}

// run has several callers create, claim and end requests. It returns their ids.
func (c *campaign) run(callers, each int) (ids []string) {
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				q := question(c.terms, fmt.Sprint("runtime-", caller%4))
				err := c.insist(func(ctx context.Context) error {
					_, err := c.b.Create(ctx, q)
					return err
				})
				if err != nil {
					c.Errorf("Create: %v", err)
				}
				c.mu.Lock()
				ids = append(ids, q.ID)
				c.mu.Unlock()
				c.work(q.Mailbox, fmt.Sprint("answer ", caller, " ", i))
			}
		})
	}
	all.Wait()
	return ids
}

// work claims a request and ends it.
func (c *campaign) work(mailbox, answer string) {
	var got []backends.Claimed
	claim := poll(mailbox, c.terms)
	err := c.insist(func(ctx context.Context) (err error) {
		got, err = c.b.Claim(ctx, claim)
		return err
	})
	if err != nil {
		c.Errorf("Claim: %v", err)
		return
	}
	for _, rec := range got[0].Records {
		end := report(c.terms, rec.ID, rec.Attempt)
		end.Payload = []byte(answer)
		err := c.insist(func(ctx context.Context) error {
			_, err := c.b.End(ctx, end)
			return err
		})
		var ended *backends.EndedError
		own := errors.As(err, &ended) && string(ended.Record.Payload) == answer // its repeat
		if err == nil || own {
			c.mu.Lock()
			c.wins[rec.ID] = append(c.wins[rec.ID], answer)
			c.mu.Unlock()
		}
	}
}

// finish handles the remaining requests. Then it checks that each request has ended, and that
// exactly one End of it succeeded.
func (c *campaign) finish(ids []string) {
	c.Helper()
	for i := 0; c.Context().Err() == nil; i++ {
		left := false
		for worker := range 4 {
			mailbox := fmt.Sprint("runtime-", worker)
			c.work(mailbox, fmt.Sprint("late answer ", worker, " ", i))
			page, err := c.b.List(c.Context(), c.terms.Store, mailbox, "", 1)
			left = left || err != nil || len(page.Records) > 0
		}
		if !left {
			break
		}
	}
	for _, id := range ids {
		rec, err := c.b.Get(c.Context(), c.terms.Store, id)
		if err != nil || rec.Status != backends.StatusCompleted {
			c.Errorf("%s: %s, %v; want completed", id, rec.Status, err)
			continue
		}
		if wins := c.wins[id]; len(wins) != 1 || wins[0] != string(rec.Payload) {
			c.Errorf("%s: stored %q, and End succeeded for %q", id, rec.Payload, wins)
		}
	}
}

func TestEveryRequestEndsOnceThoughBackendsAreTerminated(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := newCampaign(t, s.pool(t, nil))
	other := s.pool(t, func(conf *pgxpool.Config) { conf.MaxConns = 1 })
	done, stop := context.WithCancel(t.Context())
	var terminator sync.WaitGroup
	times := 0
	terminator.Go(func() {
		for done.Err() == nil {
			terminate(t, other)
			times++
			select {
			case <-time.After(100 * time.Millisecond):
			case <-done.Done():
			}
		}
	})
	ids := c.run(16, 30)
	stop()
	terminator.Wait()
	t.Logf("all backends were terminated %d times", times)
	if times == 0 {
		t.Error("nothing was terminated: the test tests nothing")
	}
	c.finish(ids)
}

func TestEveryRequestEndsOnceThoughTheServerIsKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t, "fsync=on", "restart_after_crash=off")
	c := newCampaign(t, s.pool(t, nil))
	var ids []string
	var running sync.WaitGroup
	running.Go(func() { ids = c.run(16, 40) })
	t.Cleanup(running.Wait)
	for range 3 {
		select {
		case <-time.After(300 * time.Millisecond):
		case <-t.Context().Done():
		}
		s.Kill()
		s.relaunch(t)
	}
	running.Wait()
	c.finish(ids)
}

func TestCallsKeepTheirDeadlineThoughTheServerIsFrozen(t *testing.T) {
	s := startServer(t)
	pool := s.pool(t, nil)
	b := open(t, pool, postgres.Options{Schema: newSchema(t, pool)})
	c := question(lasting("s"), box)
	if _, err := b.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	thaw := s.freeze(t, pool)
	defer thaw()
	for name, call := range callsOn(b, pool, c) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		returned := make(chan error, 1)
		go func() { returned <- call(ctx) }()
		select {
		case err := <-returned:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want DeadlineExceeded", name, err)
			}
		case <-time.After(30 * time.Second): // generous: the machine may be busy
			t.Errorf("%s did not return", name)
		}
		cancel()
	}
}

// callsOn returns a call of each method that asks the server.
func callsOn(b *postgres.Backend, pool *pgxpool.Pool,
	c backends.Create) map[string]func(context.Context) error {
	end, claim := report(c.Terms, c.ID, 0), poll(box, c.Terms)
	return map[string]func(context.Context) error{
		"Create": only(func(ctx context.Context) (any, error) { return b.Create(ctx, c) }),
		"Get":    only(func(ctx context.Context) (any, error) { return b.Get(ctx, "s", c.ID) }),
		"Claim":  only(func(ctx context.Context) (any, error) { return b.Claim(ctx, claim) }),
		"End":    only(func(ctx context.Context) (any, error) { return b.End(ctx, end) }),
		"Check":  b.Check,
		"HasPending": only(func(ctx context.Context) (any, error) {
			return b.HasPending(ctx, "s", box)
		}),
		"List": only(func(ctx context.Context) (any, error) {
			return b.List(ctx, "s", box, "", 1)
		}),
		"ClaimMany": func(ctx context.Context) error {
			return b.ClaimMany(ctx, []backends.Claim{claim})[0].Err
		},
		"WatchMailbox": func(ctx context.Context) error {
			_, stop := b.WatchMailbox(ctx, box)
			stop()
			return context.DeadlineExceeded
		},
		"Diagnose": func(ctx context.Context) error {
			findings, err := postgres.Diagnose(ctx, pool, nil)
			if _, found := finding(findings, "connection"); found && err == nil {
				return context.DeadlineExceeded
			}
			return err
		},
	}
}

// only is a call without its result.
func only(call func(ctx context.Context) (any, error)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := call(ctx)
		return err
	}
}

// freeze stops all processes of the server, as SIGSTOP does, until thaw is called.
func (s *server) freeze(t *testing.T, pool *pgxpool.Pool) (thaw func()) {
	t.Helper()
	pids := []int32{int32(s.PID())}
	rows, err := pool.Query(t.Context(), "SELECT pid FROM pg_stat_activity")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var pid int32
		if err := rows.Scan(&pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	signal := func(sig syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(int(pid), sig)
		}
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/internal/postgrestest"
)

// lab is a server and what is to be measured on it.
type lab struct {
	server *postgrestest.Server
	size   size
	out    io.Writer
}

// names are the sides in the order of the table. The first is what others are compared with.
var names = []string{"floor", "pendingq", "pendingq-held", "pendingq, nobody notified", "River"}

// newSide opens a side. Floor and pendingq then make some lifecycles. In these, new connections of
// the pool and of the Backend prepare their statements.
func newSide(ctx context.Context, name string, pool *pgxpool.Pool, callers int) (
	s side, err error) {
	switch name {
	case "floor":
		s, err = newFloor(ctx, pool)
	case "River":
		return newQueue(ctx, pool, callers)
	default:
		notified := name != "pendingq, nobody notified"
		s, err = newPendingq(ctx, pool, name, notified, name == "pendingq-held")
	}
	if err == nil {
		err = s.run(ctx, callers, 20*callers)
	}
	return s, err
}

// cost is what lifecycles took.
type cost struct{ wall, server, client time.Duration }

// measure adds what a call takes.
func (l *lab) measure(c *cost, call func() error) error {
	start, used := time.Now(), ownCPU()
	served, err := l.server.CPU()
	if err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	now, err := l.server.CPU()
	c.wall += time.Since(start)
	c.server += now - served
	c.client += ownCPU() - used
	return err
}

// ownCPU is the processor time of this process so far.
func ownCPU() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it has no reason to fail
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

const lifecycleNotes = `
A lifecycle of *floor* and pendingq is four calls, one after the other: create, claim, end, read the
answer. So one process claims and ends, as a Worker does. *pendingq-held* stands for a worker that
reports to a stateless node: a fifth call loads the claim before the end.

River's callers only insert. Its workers fetch many jobs at once and complete many at once, in the
background; nobody waits for an answer or reads it. River stores questions and answers of the same
sizes as the others, as strings in JSON. A round ends when River's client has stopped, which
completes the last batch at once. The stop takes 15 to 50 ms, and a round takes about a second.
River does not address a mailbox, has no claim that a repeat returns, and may work a completed job
again after a crash. pendingq has no priorities, no unique jobs by content, no periodic jobs and no
leader.

A figure is of all rounds together. In each round, each side ran once. Before that, all but River
made some lifecycles that do not count, to warm up their connections. River starts by itself. Each
side has tables of its own, which grow with each round.
`

// lifecycles compares the sides.
func (l *lab) lifecycles(ctx context.Context) error {
	fmt.Fprint(l.out, "## Lifecycles\n\n| synchronous_commit | callers | side | a second | "+
		"of floor | server, us each | client, us each |\n|---|---|---|---|---|---|---|\n")
	for _, commit := range []string{"on", "off"} {
		for _, callers := range l.size.callers {
			if err := l.compare(ctx, commit, callers); err != nil {
				return err
			}
		}
	}
	fmt.Fprint(l.out, lifecycleNotes)
	return nil
}

// compare has the sides take turns.
func (l *lab) compare(ctx context.Context, commit string, callers int) error {
	pool, err := l.pool(ctx, map[string]string{"synchronous_commit": commit})
	if err != nil {
		return err
	}
	defer pool.Close()
	costs := make([]cost, len(names))
	each := max(l.size.lives/l.size.rounds, callers)
	for round := -1; round < l.size.rounds; round++ {
		for i, name := range names {
			s, err := newSide(ctx, name, pool, callers)
			if err != nil {
				return err
			}
			c := &costs[i]
			if round < 0 { // the first one warms up
				c = &cost{}
			}
			err = l.measure(c, func() error { return s.run(ctx, callers, each) })
			if err := errors.Join(err, s.close(ctx)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	n := float64(each * l.size.rounds)
	for i, name := range names {
		c := costs[i]
		fmt.Fprintf(l.out, "| %s | %d | %s | %.0f | %.2f | %.0f | %.0f |\n", commit, callers, name,
			n/c.wall.Seconds(), costs[0].wall.Seconds()/c.wall.Seconds(),
			c.server.Seconds()*1e6/n, c.client.Seconds()*1e6/n)
	}
	return nil
}

// pool opens a pool whose connections have further settings.
func (l *lab) pool(ctx context.Context, settings map[string]string) (*pgxpool.Pool, error) {
	conf, err := pgxpool.ParseConfig(l.server.URL)
	if err != nil {
		return nil, err
	}
	conf.MaxConns = 16
	for name, value := range settings {
		conf.ConnConfig.RuntimeParams[name] = value
	}
	return pgxpool.NewWithConfig(ctx, conf)
}

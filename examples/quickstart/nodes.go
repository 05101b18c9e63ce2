package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/internal/redisurl"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

// node is an API node. It has no state except its connection to the backend.
type node struct {
	*skills.Stores
	name string
	out  string // the folder for imported skills, which all nodes share
}

// cluster is the nodes behind a load balancer.
type cluster struct {
	nodes []*node
	what  string // the backend of the nodes, in words
}

func (c *cluster) String() string { return fmt.Sprintf("%d API nodes, %s.", len(c.nodes), c.what) }

// balancer sends each call of one client to the next node.
type balancer struct {
	*cluster
	turn int
}

func (b *balancer) next() *node {
	b.turn++
	return b.nodes[b.turn%len(b.nodes)]
}

// nextBut returns the next node except this one.
func (b *balancer) nextBut(other *node) *node {
	n := b.next()
	if n == other {
		n = b.next()
	}
	return n
}

const nodeCount = 3

// newNodes makes the nodes, and a function that closes their backends.
func newNodes(ctx context.Context, o options) (*cluster, func(), error) {
	c := &cluster{}
	var closers []func()
	closeAll := func() {
		for _, closer := range closers {
			closer()
		}
	}
	out, err := outFolder(o)
	if err != nil {
		return nil, nil, err
	}
	if o.out == "" {
		closers = append(closers, func() { os.RemoveAll(out) })
	}
	open, what := newOpener(o)
	c.what = what
	for i := range nodeCount {
		b, closer, err := open(ctx)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		closers = append(closers, closer)
		stores, err := skills.New(b)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		c.nodes = append(c.nodes, &node{Stores: stores, name: fmt.Sprint("node ", i+1), out: out})
	}
	return c, closeAll, nil
}

// opener opens the backend of one node. It also returns a function that closes the backend.
type opener func(ctx context.Context) (backends.Backend, func(), error)

// newOpener returns the opener for the options, and its backend in words.
func newOpener(o options) (open opener, what string) {
	switch {
	case o.separate:
		return inMemory(memory.New), "each with its own store, which is the bug"
	case o.redis != "":
		return overRedis(o.redis), "all over one Redis server"
	case o.postgres != "":
		return overPostgres(o.postgres), "all over one PostgreSQL database"
	}
	shared := memory.New()
	return inMemory(func() *memory.Backend { return shared }), "all over one store in memory"
}

func inMemory(get func() *memory.Backend) opener {
	return func(context.Context) (backends.Backend, func(), error) { return get(), func() {}, nil }
}

// outFolder makes the folder for skills: a temporary one, unless the options name another.
func outFolder(o options) (string, error) {
	if o.out == "" {
		return os.MkdirTemp("", "pendingq-quickstart-")
	}
	return o.out, os.MkdirAll(o.out, 0o755)
}

func overRedis(url string) opener {
	return func(ctx context.Context) (backends.Backend, func(), error) {
		client, addr, err := redisurl.Client(url)
		if err != nil {
			return nil, nil, fmt.Errorf("-redis: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := client.Ping(ctx).Err(); err != nil {
			client.Close()
			return nil, nil, fmt.Errorf("reach Redis at %s: %w (is it running?)", addr, err)
		}
		b, err := goredis.New(client, &goredis.Options{Prefix: "pendingq-quickstart:"})
		return b, func() {
			b.Close()
			client.Close()
		}, err
	}
}

// schema is the PostgreSQL schema for the requests.
const schema = "pendingq_quickstart"

// overPostgres first brings the schema up to date. All nodes may do so at once.
func overPostgres(url string) opener {
	return func(ctx context.Context) (backends.Backend, func(), error) {
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return nil, nil, fmt.Errorf("-postgres: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		err = postgres.Migrate(ctx, pool, &postgres.MigrateOptions{Schema: schema})
		if err != nil {
			pool.Close()
			return nil, nil, fmt.Errorf("%w (is the server running?)", err)
		}
		b, err := postgres.New(pool, &postgres.Options{Schema: schema})
		return b, func() {
			b.Close()
			pool.Close()
		}, err
	}
}

// saveImport handles the report of an import at a node. It saves the skill and completes the
// request. It checks the status first: a late report must not leave a skill behind.
func (n *node) saveImport(ctx context.Context, id string, attempt int, b skills.Bundle) error {
	claim, err := n.Imports.Held(ctx, id, attempt)
	switch {
	case err != nil:
		return err
	case claim.Status.Ended():
		return fmt.Errorf("save the skill: %w: %s", pending.ErrEnded, claim.Status)
	}
	name := cmp.Or(claim.Payload.Name, b.Name)
	dir := filepath.Join(n.out, folderName(name))
	if _, err := folders.Unpack(dir, b); err != nil {
		return errors.Join(err, n.Imports.Fail(ctx, claim, "the skill could not be saved"))
	}
	now := time.Now().UTC()
	saved := skills.Skill{ID: uuid.NewString(), WorkspaceID: dir, Name: name,
		Description: b.Description, Content: b.Content, CreatedBy: claim.Payload.CreatorID,
		CreatedAt: now, UpdatedAt: now}
	for _, f := range b.Files {
		saved.Files = append(saved.Files,
			skills.SkillFile{ID: uuid.NewString(), Path: f.Path, Content: f.Content})
	}
	claim.Payload.Skill = &saved
	return n.Imports.Complete(ctx, claim)
}

// failImport handles the report of a runtime that cannot bundle the skill.
func (n *node) failImport(ctx context.Context, id string, attempt int, reason string) error {
	claim, err := n.Imports.Held(ctx, id, attempt)
	if err != nil {
		return err
	}
	return n.Imports.Fail(ctx, claim, reason)
}

// folderName turns a name from a runtime into a name that every file system accepts.
func folderName(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return "skill-" + strings.Trim(safe, "-")
}

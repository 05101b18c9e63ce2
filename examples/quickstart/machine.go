package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/folders"
)

//go:embed sample-skills
var samples embed.FS

// machine is the runtime. It cannot be called, so it polls. It reports to the node that the load
// balancer picks, with the id and the attempt of its claim.
type machine struct {
	id       string
	nodes    balancer
	roots    []folders.Root
	what     string // the skills in roots, in words
	tempRoot string // the folder of the samples; "" without samples
}

const pollInterval = 100 * time.Millisecond

func newMachine(o options, nodes *cluster) (*machine, error) {
	id := "runtime-" + strings.ToLower(rand.Text()[:8])
	m := &machine{id: id, nodes: balancer{cluster: nodes}}
	if o.root != "" {
		root, err := filepath.Abs(o.root)
		if err == nil {
			_, err = os.ReadDir(root)
		}
		if err != nil {
			return nil, fmt.Errorf("-root: %w", err)
		}
		m.roots, m.what = []folders.Root{{Provider: "local", Path: root}}, "the skills in "+root
		return m, nil
	}
	roots, err := folders.DefaultRoots()
	if err != nil {
		return nil, err
	}
	found, _, err := folders.Discover(context.Background(), roots)
	if err == nil && len(found) > 0 {
		m.roots, m.what = roots, "this user's own skills"
		return m, nil
	}
	return m, m.useSamples()
}

// useSamples copies the skills of this program to a temporary folder.
func (m *machine) useSamples() error {
	dir, err := os.MkdirTemp("", "pendingq-samples-")
	if err != nil {
		return err
	}
	m.tempRoot = dir
	m.roots = []folders.Root{{Provider: "samples", Path: dir}}
	m.what = "sample skills, since this user has none"
	below, err := fs.Sub(samples, "sample-skills")
	if err != nil {
		return err
	}
	return os.CopyFS(dir, below)
}

func (m *machine) close() {
	if m.tempRoot != "" {
		_ = os.RemoveAll(m.tempRoot) // only a temporary folder
	}
}

func (m *machine) String() string {
	return fmt.Sprintf("One runtime, %s, polls every %v and has %s.", m.id, pollInterval, m.what)
}

// poll sends heartbeats until ctx ends.
func (m *machine) poll(ctx context.Context, t *timeline) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		n, began := m.nodes.next(), time.Now()
		work, err := n.Heartbeat(ctx, m.id)
		if err != nil && ctx.Err() == nil {
			t.add(began, "runtime", n.name, "heartbeat: %v", err)
		}
		if work != nil && !work.Empty() {
			t.add(began, "runtime", n.name, "heartbeat: claimed %s", describe(work))
			m.do(ctx, t, work)
		}
	}
}

func describe(w *skills.Work) string {
	var parts []string
	for _, part := range []struct {
		what string
		has  bool
	}{
		{"a list", w.List != nil},
		{"an import", len(w.Imports) > 0},
		{"a ping", w.Ping != nil},
		{"an update", w.Update != nil},
		{"a list of models", w.ModelList != nil},
	} {
		if part.has {
			parts = append(parts, part.what)
		}
	}
	return strings.Join(parts, ", ")
}

// do does the work of a heartbeat and reports each piece.
func (m *machine) do(ctx context.Context, t *timeline, w *skills.Work) {
	if w.List != nil {
		m.report(t, "the list", func(n *node) error {
			return m.list(ctx, n, w.List.ID, w.List.Attempt)
		})
	}
	for _, i := range w.Imports {
		m.report(t, "the skill", func(n *node) error {
			return m.bundle(ctx, n, i.ID, i.Attempt, i.Payload.SkillKey)
		})
	}
	if w.Ping != nil {
		m.report(t, "a sign of life", func(n *node) error {
			return answer(ctx, n.Pings, w.Ping.ID, w.Ping.Attempt,
				func(p *skills.Ping) { p.Output = "up, " + goruntime.Version() })
		})
	}
	if w.Update != nil {
		m.report(t, "the update", func(n *node) error {
			return answer(ctx, n.Updates, w.Update.ID, w.Update.Attempt,
				func(u *skills.Update) { u.Output = "now at " + u.TargetVersion })
		})
	}
	if w.ModelList != nil {
		m.report(t, "its models", func(n *node) error {
			return answer(ctx, n.ModelLists, w.ModelList.ID, w.ModelList.Attempt,
				func(l *skills.ModelList) {
					l.Models = []skills.Model{
						{ID: "small", Label: "Small", Default: true},
						{ID: "large", Label: "Large"},
					}
				})
		})
	}
}

// report sends a report to the node that the load balancer picks.
func (m *machine) report(t *timeline, what string, send func(*node) error) {
	n, began := m.nodes.next(), time.Now()
	if err := send(n); err != nil {
		t.add(began, "runtime", n.name, "report of %s: %s", what, reason(err))
		return
	}
	t.add(began, "runtime", n.name, "reported %s", what)
}

// reason returns an error as people should read it.
func reason(err error) string {
	if errors.Is(err, pending.ErrNotFound) {
		return "NOT FOUND here"
	}
	return err.Error()
}

// answer handles a report at a node. It loads the claim of the report, sets the answer and
// completes the request. If another claim has followed, Held returns ErrStaleClaim.
func answer[T any](ctx context.Context, s *pending.PendingStore[T], id string, attempt int,
	set func(*T)) error {
	claim, err := s.Held(ctx, id, attempt)
	if err != nil {
		return err
	}
	set(&claim.Payload)
	return s.Complete(ctx, claim)
}

func (m *machine) list(ctx context.Context, n *node, id string, attempt int) error {
	found, _, err := folders.Discover(ctx, m.roots)
	if err != nil {
		return err
	}
	return answer(ctx, n.Lists, id, attempt, func(l *skills.List) { l.Skills = found })
}

func (m *machine) bundle(
	ctx context.Context, n *node, id string, attempt int, key string) error {
	b, _, err := folders.Bundle(ctx, m.roots, key)
	if err != nil {
		return errors.Join(err, n.failImport(ctx, id, attempt, err.Error()))
	}
	return n.saveImport(ctx, id, attempt, b)
}

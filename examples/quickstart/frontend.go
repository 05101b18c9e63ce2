package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
)

// frontEnd asks the runtime for things. Each call goes to the node that the balancer picks.
type frontEnd struct {
	nodes    balancer
	runtime  string
	patience time.Duration
	timeline *timeline
}

const user = "ada"

// askEverything uses all five stores once. It returns the errors of all questions.
func (f *frontEnd) askEverything(ctx context.Context) error {
	list, err := ask(ctx, f, "its skills", (*node).lists, skills.NewList())
	f.showSkills(list.Skills)
	problems := errors.Join(err, f.importOne(ctx, list.Skills))
	ping, err := ask(ctx, f, "a sign of life", (*node).pings, skills.Ping{})
	if err == nil {
		f.timeline.note("  it says %q", ping.Output)
	}
	problems = errors.Join(problems, err)
	wanted := skills.Update{TargetVersion: "1.4.2", InitiatorID: user}
	update, err := ask(ctx, f, "an update", (*node).updates, wanted)
	if err == nil {
		f.timeline.note("  it says %q; %s asked for it, which only the server knows",
			update.Output, update.InitiatorID)
	}
	problems = errors.Join(problems, err)
	models, err := ask(ctx, f, "its models", (*node).models, skills.NewModelList())
	if err == nil {
		f.timeline.note("  %d models", len(models.Models))
	}
	if problems = errors.Join(problems, err); problems == nil {
		f.timeline.note("all five kinds of request were answered, each step at another node")
	}
	return problems
}

func (n *node) lists() *pending.PendingStore[skills.List]       { return n.Lists }
func (n *node) imports() *pending.PendingStore[skills.Import]   { return n.Imports }
func (n *node) pings() *pending.PendingStore[skills.Ping]       { return n.Pings }
func (n *node) updates() *pending.PendingStore[skills.Update]   { return n.Updates }
func (n *node) models() *pending.PendingStore[skills.ModelList] { return n.ModelLists }

func (f *frontEnd) showSkills(found []skills.LocalSkill) {
	const most = 5
	for i, s := range found {
		if i == most {
			f.timeline.note("  and %d more", len(found)-most)
			return
		}
		f.timeline.note("  %-24s %.60s", s.Key, s.Description)
	}
}

// importOne imports a skill of a list: the first with supporting files, or otherwise the last one.
func (f *frontEnd) importOne(ctx context.Context, found []skills.LocalSkill) error {
	key := "release-notes"
	if len(found) > 0 {
		key = found[len(found)-1].Key
		for _, s := range found {
			if s.FileCount > 1 { // a skill with supporting files shows more
				key = s.Key
				break
			}
		}
	}
	wanted := skills.Import{SkillKey: key, CreatorID: user}
	done, err := ask(ctx, f, fmt.Sprintf("the skill %q", key), (*node).imports, wanted)
	if err != nil {
		return err
	}
	f.timeline.note("  %q with %d supporting file(s) was saved in %s",
		done.Skill.Name, len(done.Skill.Files), done.Skill.WorkspaceID)
	return nil
}

// ask creates a request at one node and reads it at other nodes until it has ended.
func ask[T any](ctx context.Context, f *frontEnd, what string,
	store func(*node) *pending.PendingStore[T], payload T) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	asked, began := f.nodes.next(), time.Now()
	r, err := store(asked).Create(ctx, f.runtime, payload)
	if err != nil {
		return payload, fmt.Errorf("ask for %s: %w", what, err)
	}
	f.timeline.add(began, "front end", asked.name, "asked for %s", what)
	for lost := false; ; {
		read, n := time.Now(), f.nodes.nextBut(asked)
		got, err := store(n).Get(ctx, r.ID)
		switch {
		case errors.Is(err, pending.ErrNotFound):
			if !lost {
				f.timeline.add(read, "front end", n.name, "reading %s: %s", what, reason(err))
			}
			lost = true
		case err != nil && ctx.Err() == nil:
			return payload, fmt.Errorf("read %s: %w", what, err)
		case err == nil && got.Status == pending.StatusCompleted:
			f.timeline.add(began, "front end", n.name, "read the answer: %s", what)
			return got.Payload, nil
		case err == nil && got.Status.Ended():
			f.timeline.add(began, "front end", n.name, "%s %s: %s", what, got.Status, got.Error)
			return payload, fmt.Errorf("%s %s: %s", what, got.Status, got.Error)
		}
		select {
		case <-time.After(pollInterval / 2):
		case <-ctx.Done():
			f.timeline.add(began, "front end", "", "gave up on %s", what)
			return payload, fmt.Errorf("%s: no answer within %v", what, f.patience)
		}
	}
}

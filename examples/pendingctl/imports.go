package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pendingq/pendingq/skills"
)

// atOnce is how many imports run at once. The server parks a read for each of them. By default it
// parks at most 50 reads of one user for one runtime, half of its MaxRuntimeWaits.
const atOnce = 32

// imported is the result of one import.
type imported struct {
	key    string
	record *record // the last state of the request; nil if there is no request
	err    error
}

// errNotAsked is the error of an import whose request was never sent.
var errNotAsked = errors.New("not asked")

// errReported is an error that stderr already shows.
var errReported = errors.New("not all skills were imported")

func importSkills(ctx context.Context, s *session) error {
	if len(s.words) > 1 && (s.name != "" || s.overwrite != "") {
		return misused("--name and --overwrite need a single KEY")
	}
	keys := slices.Clone(s.words)
	slices.Sort(keys)
	if len(slices.Compact(keys)) < len(s.words) {
		return misused("a KEY is given twice")
	}
	results := s.importAll(ctx)
	show := s.importTable
	if s.output == outputJSON {
		show = s.importJSON
	}
	if err := show(results); err != nil {
		return err
	}
	return s.importErrors(ctx, results)
}

// importAll imports all skills at once.
func (s *session) importAll(ctx context.Context) []imported {
	waiting, cancel := s.patience(ctx)
	defer cancel()
	defer s.board.start()()
	results := make([]imported, len(s.words))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, key := range s.words {
		all.Go(func() {
			q := s.importQuestion(key)
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-waiting.Done():
			}
			if cause := context.Cause(waiting); cause != nil {
				err := fmt.Errorf("%s: %w: %w", q.label, errNotAsked, cause)
				results[i] = imported{key, nil, err}
				return
			}
			r, err := s.ask(waiting, q, func(r *record) { s.board.seen(q.label, r) })
			results[i] = imported{key, r, explain(ctx, q, r, err)}
		})
	}
	all.Wait()
	return results
}

// importQuestion returns the question for an import. It is not harmless: the name of a second
// import would conflict with the first.
func (s *session) importQuestion(key string) question {
	ask := skills.Import{SkillKey: key, Name: s.name, TargetSkillID: s.overwrite,
		SupportsConflict: true}
	if s.overwrite != "" {
		ask.Action = skills.ActionOverwrite
	}
	body, err := json.Marshal(ask)
	if err != nil {
		panic(err) // cannot happen: the struct has only strings
	}
	return question{label: "import of " + key, path: "/local-skills/import", body: body}
}

// payload returns the payload of an import's request.
func (i imported) payload() (p skills.Import) {
	if i.record != nil {
		_ = json.Unmarshal(i.record.raw, &p) // send has parsed it before
	}
	return p
}

func (i imported) status() string {
	var answered *statusError
	switch {
	case i.record != nil:
		return string(i.record.Status)
	case errors.Is(i.err, errNotAsked):
		return "not asked"
	case errors.As(i.err, &answered) && answered.refused():
		return "refused"
	}
	return "unknown"
}

func (s *session) importTable(results []imported) error {
	rows := [][]string{{"KEY", "STATUS", "REQUEST", "SKILL", "FILES", "NAME"}}
	for _, i := range results {
		row := []string{i.key, i.status(), "", "", "", ""}
		if i.record != nil {
			row[2] = i.record.ID
		}
		switch p := i.payload(); {
		case p.Skill != nil:
			row[3], row[4], row[5] = p.Skill.ID, fmt.Sprint(1+len(p.Skill.Files)), p.Skill.Name
		case p.Conflict != nil:
			row[3] = p.Conflict.ExistingSkillID
		}
		rows = append(rows, row)
	}
	return s.table(rows)
}

// importJSON shows an array with an object for each skill, in the order of the command line.
func (s *session) importJSON(results []imported) error {
	type object struct {
		Key     string          `json:"skill_key"`
		Error   string          `json:"error,omitempty"`
		Request json.RawMessage `json:"request"` // the server's JSON; null if there is no request
	}
	objects := make([]object, len(results))
	for n, i := range results {
		objects[n].Key = i.key
		if i.err != nil {
			objects[n].Error = i.err.Error()
		}
		if i.record != nil {
			objects[n].Request = i.record.raw
		}
	}
	return s.print(objects)
}

// importErrors prints all errors. It returns the error with the highest exit code.
func (s *session) importErrors(ctx context.Context, results []imported) error {
	var gravest error
	for _, i := range results {
		if n := i.payload().LeftOutCount; n > 0 {
			fmt.Fprintf(s.stderr, "pendingctl: import of %s: %d files were left out; "+
				"skills list -v says why\n", i.key, n)
		}
		if i.err == nil {
			continue
		}
		fmt.Fprintf(s.stderr, "pendingctl: %v%s\n", i.err, i.advice())
		if gravest == nil || exitCode(ctx, i.err) > exitCode(ctx, gravest) {
			gravest = i.err
		}
	}
	if gravest == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errReported, gravest)
}

// advice says what a person can do about a conflict.
func (i imported) advice() string {
	p := i.payload()
	switch {
	case i.record == nil || p.Conflict == nil ||
		i.record.Status != skills.OutcomeConflict:
		return ""
	case p.Conflict.CanOverwrite:
		return fmt.Sprintf(": a skill with this name already exists; "+
			"replace it with --overwrite %s, or give another --name", p.Conflict.ExistingSkillID)
	}
	return ": somebody else has a skill with this name; give another --name"
}

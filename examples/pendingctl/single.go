package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/pendingq/pendingq/skills"
)

func listSkills(ctx context.Context, s *session) error {
	q := question{label: "skills", path: "/local-skills", harmless: true}
	return s.single(ctx, q, func(r *record) error {
		var list skills.List
		if err := json.Unmarshal(r.raw, &list); err != nil {
			return err
		}
		if !list.Supported {
			return s.say("this runtime cannot list skills")
		}
		rows := [][]string{{"KEY", "FILES", "PROVIDER", "NAME", "DESCRIPTION"}}
		for _, k := range list.Skills {
			rows = append(rows, []string{
				k.Key, fmt.Sprint(k.FileCount), k.Provider, k.Name, short(k.Description)})
		}
		return errors.Join(s.table(rows), s.leftOut(list.Omissions))
	})
}

// leftOut says how many files and folders a list leaves out. With -v it lists them, with reasons.
func (s *session) leftOut(o skills.Omissions) error {
	if o.LeftOutCount == 0 {
		return nil
	}
	if !s.verbose {
		fmt.Fprintf(s.stderr, "pendingctl: %d files and folders were left out; -v lists them\n",
			o.LeftOutCount)
		return nil
	}
	rows := [][]string{{"LEFT OUT", "REASON"}}
	for _, left := range o.LeftOut {
		rows = append(rows, []string{left.Path, left.Reason})
	}
	if more := o.LeftOutCount - len(o.LeftOut); more > 0 {
		rows = append(rows, []string{fmt.Sprintf("%d more", more), "see the log of the daemon"})
	}
	_, err := io.WriteString(s.stdout, "\n")
	return errors.Join(err, s.table(rows))
}

func ping(ctx context.Context, s *session) error {
	q := question{label: "ping", path: "/ping", harmless: true}
	return s.single(ctx, q, func(r *record) error {
		var p skills.Ping
		if err := json.Unmarshal(r.raw, &p); err != nil {
			return err
		}
		took := time.Duration(p.DurationMS) * time.Millisecond
		output := cmp.Or(oneLine(p.Output), "no output")
		return s.say("the runtime is up: %s (%v)", output, took)
	})
}

func update(ctx context.Context, s *session) error {
	body, err := json.Marshal(map[string]string{"target_version": s.words[0]})
	if err != nil {
		return err
	}
	q := question{label: "update to " + s.words[0], path: "/update", body: body, long: true}
	return s.single(ctx, q, func(r *record) error {
		var u skills.Update
		if err := json.Unmarshal(r.raw, &u); err != nil {
			return err
		}
		output := cmp.Or(printable(strings.TrimSpace(u.Output)), "no output")
		return s.say("updated to %s: %s", u.TargetVersion, output)
	})
}

func models(ctx context.Context, s *session) error {
	q := question{label: "models", path: "/models", harmless: true}
	return s.single(ctx, q, func(r *record) error {
		var list skills.ModelList
		if err := json.Unmarshal(r.raw, &list); err != nil {
			return err
		}
		if !list.Supported {
			return s.say("this runtime cannot list models")
		}
		rows := [][]string{{"ID", "LABEL", "PROVIDER", "DEFAULT"}}
		for _, m := range list.Models {
			rows = append(rows, []string{m.ID, m.Label, m.Provider, mark(m.Default)})
		}
		return s.table(rows)
	})
}

func mark(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

func (s *common) say(format string, args ...any) error {
	_, err := fmt.Fprintf(s.stdout, format+"\n", args...)
	return err
}

// table shows rows. The first row is the heading.
func (s *common) table(rows [][]string) error {
	_, err := io.WriteString(s.stdout, render(rows))
	return err
}

// render returns rows with aligned columns. An empty cell becomes "-", so that scripts can split a
// row at spaces.
func render(rows [][]string) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = cmp.Or(oneLine(cell), "-")
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a write to a Builder never fails
	return text.String()
}

// oneLine replaces control characters and white space by single spaces, so that a text fits a
// table. The result is printable.
func oneLine(text string) string {
	isSpace := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	return printable(strings.Join(strings.FieldsFunc(text, isSpace), " "))
}

// short cuts a text that would make a table too wide.
func short(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

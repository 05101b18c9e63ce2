package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// common is the part that all commands share.
type common struct {
	options
	surroundings
	words   []string // the arguments after the command
	board   *board
	patient bool // --timeout was given
}

// session is one run of a command that sends requests to a runtime.
type session struct {
	*client
	common
}

// newCommon checks the common flags.
func (p *program) newCommon(words []string) (common, error) {
	if err := fromEnvironment(p.root.PersistentFlags(), p.env); err != nil {
		return common{}, err
	}
	patient := p.root.PersistentFlags().Changed("timeout")
	return common{p.options, p.surroundings, words, newBoard(p.stderr, p.live), patient}, p.check()
}

func (p *program) newSession(words []string) (*session, error) {
	c, err := p.newCommon(words)
	if err != nil {
		return nil, err
	}
	if p.runtime == "" {
		return nil, misused("no runtime is given; set --runtime ID or PENDINGCTL_RUNTIME")
	}
	client, err := newClient(c.options, c.board.note)
	if err != nil {
		return nil, err
	}
	return &session{client, c}, nil
}

// patience returns a context that ends after --timeout.
func (s *common) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.timeout, errPatience)
}

// longPatience returns a context that ends after --timeout if this flag was given. It is for
// commands that may take longer than defaultTimeout.
func (s *common) longPatience(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.patient {
		return s.patience(ctx)
	}
	return context.WithCancel(ctx)
}

// single asks one question and shows the answer: as the JSON of the server, or as a table.
func (s *session) single(ctx context.Context, q question, table func(*record) error) error {
	patience := s.patience
	if q.long {
		patience = s.longPatience
	}
	waiting, cancel := patience(ctx)
	defer cancel()
	stop := s.board.start()
	r, err := s.ask(waiting, q, func(r *record) { s.board.seen(q.label, r) })
	stop()
	if r != nil && s.output == outputJSON {
		return errors.Join(explain(ctx, q, r, err), s.print(r.raw))
	}
	if err != nil {
		return explain(ctx, q, r, err)
	}
	return table(r)
}

// explain adds the question and the state of its request to an error.
func explain(ctx context.Context, q question, r *record, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && r == nil:
		return fmt.Errorf("%s: interrupted", q.label)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: interrupted; request %s continues", q.label, r.ID)
	case r == nil && !q.harmless && unknown(err):
		return fmt.Errorf("%s: %w; the server may have made the request, so it was not sent again",
			q.label, err)
	case r == nil:
		return fmt.Errorf("%s: %w", q.label, err)
	case errors.Is(err, errPatience):
		return fmt.Errorf("%s: %w; request %s is still %s", q.label, err, r.ID, r.Status)
	}
	return fmt.Errorf("%s: request %s: %w", q.label, r.ID, err)
}

// unknown reports whether the server may have made the request despite an error.
func unknown(err error) bool {
	var answered *statusError
	if errors.As(err, &answered) {
		return !answered.refused()
	}
	return !unsent(err)
}

// print shows a value as indented JSON.
func (s *common) print(v any) error { return s.printJSON(v, "  ") }

// printLine shows a value as a line of JSON.
func (s *common) printLine(v any) error { return s.printJSON(v, "") }

// printJSON escapes what a terminal does not print. A program decodes the same value.
func (s *common) printJSON(v any, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(s.stdout, printable(text.String()))
	return err
}

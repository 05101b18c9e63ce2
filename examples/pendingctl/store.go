package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// storeSession is one run of a command about a store.
type storeSession struct {
	*remote.Client
	common
	last    backends.Record // the last record that watched has read
	watched *pending.PendingStore[struct{}]
	repeats *repeats
}

func (p *program) newStoreSession(words []string) (*storeSession, error) {
	c, err := p.newCommon(words)
	if err != nil {
		return nil, err
	}
	if p.store == "" {
		return nil, misused("no store is given; set --store NAME or PENDINGCTL_STORE")
	}
	again := &repeats{note: c.board.note}
	client, err := remote.New(strings.TrimSuffix(p.server, "/")+"/"+strings.Trim(p.path, "/"),
		&remote.Options{Token: p.token, Logger: slog.New(again)})
	if err != nil {
		return nil, misused("--server and --path make no URL like http://127.0.0.1:8080/pending")
	}
	s := &storeSession{Client: client, common: c, repeats: again}
	// The server applies its own policy. Package pending needs any policy with this name.
	policy := pending.Policy{Name: p.store, PendingTimeout: time.Minute,
		RunningTimeout: time.Minute, Retention: time.Minute}
	s.watched, err = pending.New(payloadless{s}, codec.JSON[struct{}](), policy)
	if err != nil {
		client.Close()
		return nil, misused("--store %.80q is not the name of a store", p.store)
	}
	return s, nil
}

func (s *storeSession) close() { s.Client.Close() }

// payloadless hides payloads from package pending, which cannot decode them here. The session keeps
// each record with its payload.
type payloadless struct{ *storeSession }

// Get implements [backends.Backend].
func (p payloadless) Get(ctx context.Context, store, id string) (backends.Record, error) {
	rec, err := p.Client.Get(ctx, store, id)
	p.last = rec
	if err == nil {
		p.repeats.last.Store(nil) // the trouble has passed
	}
	rec.Codec, rec.Payload = "json", []byte("{}")
	return rec, err
}

// Cancel implements [backends.Backend].
func (p payloadless) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	rec, err := p.Client.Cancel(ctx, c)
	p.last = rec
	var ended *backends.EndedError
	if errors.As(err, &ended) {
		p.last = ended.Record
	}
	return rec, err
}

// repeats is a slog.Handler that tells people when the client repeats a request.
type repeats struct {
	note func(string, ...any)
	last atomic.Pointer[string] // the text of the last error; nil after a success
}

// Enabled implements [slog.Handler].
func (*repeats) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements [slog.Handler]. The client itself cancels a watch, for example when it closes:
// then people have nothing to know.
func (r *repeats) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		if ok && !errors.Is(err, context.Canceled) {
			text := oneLine(err.Error())
			r.last.Store(&text)
			r.note("%s; trying again", text)
		}
		return true
	})
	return nil
}

// WithAttrs implements [slog.Handler].
func (r *repeats) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup implements [slog.Handler].
func (r *repeats) WithGroup(string) slog.Handler { return r }

// explained adds advice to an error about a mailbox or a request.
func (s *storeSession) explained(ctx context.Context, what string, err error) error {
	advice, trouble := "", s.repeats.last.Load()
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errPatience) && trouble != nil:
		return fmt.Errorf("%s: %w", what, &troubleError{errors.New(*trouble)})
	case errors.Is(context.Cause(ctx), errPatience):
		return fmt.Errorf("%s: %w", what, errPatience)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: interrupted", what)
	case errors.Is(err, pending.ErrNotFound):
		return &hintError{what + " is not found in store " + s.store +
			". It never existed, has disappeared, or this token may not see it.", err}
	case errors.Is(err, remote.ErrUnauthorized):
		advice = "; check --token or PENDINGCTL_TOKEN"
	case errors.Is(err, remote.ErrForbidden):
		advice = "; use a token with this right"
	case errors.Is(err, remote.ErrTooMany):
		advice = "; the server is busy, so try again later"
	case errors.Is(err, errors.ErrUnsupported):
		advice = "; the backend of this server cannot list requests"
	case errors.As(err, new(*backends.CorruptError)), errors.As(err, new(*pending.DecodeError)):
		advice = "; another program wrote its record, or a server of another version"
	case exitCode(ctx, err) == exitTrouble:
		advice = "; if the server is well, check that --server and --path are right"
	}
	return fmt.Errorf("%s: %w%s", what, err, advice)
}

// hintError replaces the text of an error.
type hintError struct {
	text string
	err  error
}

func (e *hintError) Error() string { return e.text }
func (e *hintError) Unwrap() error { return e.err }

// harmless matches names that mean nothing to a shell, which may run what it completes.
var harmless = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./@%+,-]*$`)

// completeMailbox offers names of mailboxes for the shell.
func (p *program) completeMailbox(
	c *cobra.Command, words []string, start string) (found []string, d cobra.ShellCompDirective) {
	p.stderr = io.Discard // the user is typing on this terminal
	s, err := p.newStoreSession(nil)
	if len(words) > 0 || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second) // people wait for the shell
	defer cancel()
	names, _, _ := s.names(ctx, pageSize)
	for _, name := range names {
		if strings.HasPrefix(name, start) && harmless.MatchString(name) {
			found = append(found, name)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

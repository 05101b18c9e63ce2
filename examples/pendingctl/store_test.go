package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

type job struct {
	Question string
	Answer   string
}

func jobs(grace time.Duration) pending.Policy {
	return pending.Policy{Name: "jobs", PendingTimeout: time.Hour, RunningTimeout: time.Hour,
		Retention: time.Hour, CancelGrace: grace}
}

// storeAccess lets the owner do everything, a reader read and list, and a stranger nothing.
type storeAccess struct{}

func (storeAccess) Caller(r *http.Request) (string, error) {
	name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if name == "owner" || name == "reader" || name == "stranger" {
		return name, nil
	}
	return "", nil
}

func (storeAccess) Allow(
	_ *http.Request, caller string, action remote.Action, _, _ string) (bool, error) {
	reads := action == remote.ActionRead || action == remote.ActionList
	return caller == "owner" || caller == "reader" && reads, nil
}

// shelf is a store behind an API node.
type shelf struct {
	*testing.T
	backend backends.Backend
	store   *pending.PendingStore[job]
	url     string
}

func newShelf(t *testing.T, grace time.Duration, codecs ...codec.Codec[job]) *shelf {
	t.Helper()
	return newShelfOver(t, memory.New(), grace, codecs...)
}

func newShelfOver(t *testing.T, b backends.Backend, grace time.Duration,
	codecs ...codec.Codec[job]) *shelf {
	t.Helper()
	s := &shelf{T: t, backend: b}
	var err error
	format := cmp.Or(append(codecs, codec.JSON[job]())...)
	if s.store, err = pending.New(s.backend, format, jobs(grace)); err != nil {
		t.Fatal(err)
	}
	handler, err := remote.Handler(s.backend, remote.Config{Stores: []pending.Policy{jobs(grace)},
		Access: storeAccess{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.StripPrefix("/pending", handler))
	t.Cleanup(server.Close)
	t.Cleanup(handler.Drain)
	s.url = server.URL
	return s
}

func (s *shelf) create(mailbox, question string) *pending.Request[job] {
	s.Helper()
	r, err := s.store.Create(s.Context(), mailbox, job{Question: question})
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// call runs the program as the owner, unless the arguments say otherwise.
func (s *shelf) call(args ...string) result {
	s.Helper()
	r := s.callIn(s.Context(), false, args...)
	checkHarmless(s.T, r)
	return r
}

func (s *shelf) callIn(ctx context.Context, screen bool, args ...string) result {
	return callWith(ctx, s.env(), surroundings{screen: screen}, args...)
}

func (s *shelf) env() map[string]string {
	return map[string]string{"PENDINGCTL_SERVER": s.url, "PENDINGCTL_TOKEN": "owner",
		"PENDINGCTL_STORE": "jobs"}
}

func (s *shelf) want(r result, code int, parts ...string) {
	s.Helper()
	(&world{T: s.T}).want(r, code, parts...)
}

// matches checks that a call succeeded, and that its output matches all patterns.
func (s *shelf) matches(r result, patterns ...string) {
	s.Helper()
	s.want(r, exitOK)
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(r.stdout) {
			s.Errorf("the output does not match %q:\n%s", pattern, r.stdout)
		}
	}
}

// decode reads the JSON that the program has written.
func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestShowReadsPayloadsInJSONAndMsgpack(t *testing.T) {
	for name, format := range map[string]codec.Codec[job]{
		"json": codec.JSON[job](), "msgpack": codec.Msgpack[job]()} {
		s := newShelf(t, 0, format)
		const question = "how\x1b[31m\u009b\u202e\U000e0041?"
		r := s.create("device-1", question)
		shown := s.call("show", r.ID)
		s.want(shown, exitOK, "Mailbox   device-1", "Status    pending", "codec "+name+":",
			`"Question": "how\u001b[31m\u009b\u202e\udb40\udc41?"`, "(in 59m")
		machine := s.call("show", r.ID, "-o", "json")
		v := decode[view](t, machine.stdout)
		if got := decode[job](t, string(v.Payload)); got.Question != question {
			t.Errorf("%s: got %+v", name, v)
		}
	}
}

func TestShowTellsTheSizeOfAPayloadThatNeedsAKey(t *testing.T) {
	keys := codec.Keys{Sealing: "k", ByID: map[string][]byte{"k": bytes.Repeat([]byte{7}, 32)}}
	s := newShelf(t, 0, codec.Sealed(codec.JSON[job](), keys))
	r := s.create("device-1", "secret")
	shown := s.call("show", r.ID)
	s.want(shown, exitOK, "bytes in codec", "which cannot be shown here")
	v := decode[view](t, s.call("show", r.ID, "-o", "json").stdout)
	if v.Payload != nil || v.Size == 0 {
		t.Errorf("got %+v, want a size and no payload", v)
	}
}

func TestAPayloadThatDoesNotFitItsCodec(t *testing.T) {
	for _, rec := range []backends.Record{{Codec: "json", Payload: []byte("{")}, {Codec: "json"},
		{Codec: "msgpack", Payload: []byte{0x81}}, {Codec: "msgpack", Payload: []byte{1, 1}},
		{Codec: "msgpack", Payload: bytes.Repeat([]byte{0x91}, 1<<20)}} {
		if got := readable(rec); got != nil {
			t.Errorf("%s %.10q reads as %s", rec.Codec, rec.Payload, got)
		}
	}
}

func TestWatchFollowsARequestUntilItHasEnded(t *testing.T) {
	s := newShelf(t, 0)
	good, bad := s.create("good", "?"), s.create("bad", "?")
	ended := make(chan error, 2)
	for _, box := range []string{"good", "bad"} {
		go func() {
			c, err := s.store.PopPending(t.Context(), box)
			if err == nil && box == "good" {
				c.Payload.Answer = "42"
				err = s.store.Complete(t.Context(), c)
			} else if err == nil {
				err = s.store.Fail(t.Context(), c, "no disk")
			}
			ended <- err
		}()
	}
	s.want(s.call("watch", good.ID), exitOK, `completed  attempt 1  {"Question":"?","Answer":"42"}`)
	s.want(s.call("watch", bad.ID), exitFailed, "pendingctl: failed: no disk")
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	r := s.call("watch", good.ID, "-o", "json")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	last := decode[view](t, lines[len(lines)-1])
	if last.Status != "completed" || last.Payload == nil {
		t.Errorf("got %+v", last)
	}
	waiting := s.create("good", "?")
	s.want(s.call("watch", waiting.ID, "-timeout", "50ms"), exitFailed, "no answer in time")
	env := s.env()
	env["PENDINGCTL_TIMEOUT"] = "50ms"
	limited, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	s.want(callWith(limited, env, surroundings{}, "watch", waiting.ID), exitFailed,
		"no answer in time")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.want(s.callIn(ctx, false, "watch", waiting.ID), exitInterrupted, "interrupted")
}

func TestCancelEndsAPendingRequestOnce(t *testing.T) {
	s := newShelf(t, 0)
	r := s.create("device-1", "?")
	for range 2 { // the second changes nothing
		s.want(s.call("cancel", r.ID, "--reason", "wrong device"), exitOK, r.ID+" is cancelled")
	}
	s.want(s.call("show", r.ID), exitOK, "Error    wrong device", "cancelled")
	v := decode[view](t, s.call("cancel", r.ID, "-o", "json").stdout)
	if v.Status != "cancelled" || v.Error != "wrong device" || v.Codec != "" {
		t.Errorf("got %+v", v)
	}
	other := s.create("device-1", "?") // the value of a flag may look like a flag
	v = decode[view](t, s.call("cancel", other.ID, "--reason", "-name", "-o", "json").stdout)
	if v.Error != "-name" {
		t.Errorf("got %+v", v)
	}
}

func TestCancelOfARunningRequestGivesItsWorkerTime(t *testing.T) {
	s := newShelf(t, time.Minute)
	r := s.create("device-1", "?")
	c, err := s.store.PopPending(t.Context(), "device-1")
	if err != nil {
		t.Fatal(err)
	}
	s.want(s.call("cancel", r.ID, "--reason", "enough"), exitOK, "is told to stop, and has 1m0s")
	s.want(s.call("ls", "device-1"), exitOK, "stopping")
	s.want(s.call("show", r.ID), exitOK, "Cancel    enough")
	if err := s.store.Complete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.want(s.call("cancel", r.ID), exitFailed, "ended")
}

// The error for a hidden request is the error for a missing one.
func TestARefusalSaysWhatToDo(t *testing.T) {
	s := newShelf(t, 0)
	r := s.create("device-1", "?")
	other := backends.NewID("device-1")
	hidden, missing := s.call("show", r.ID, "-token", "stranger"), s.call("show", other)
	s.want(hidden, exitFailed, "is not found in store jobs", "this token may not see it")
	if strings.ReplaceAll(hidden.stderr, r.ID, other) != missing.stderr {
		t.Errorf("the hidden request reads %q, a missing one %q", hidden.stderr, missing.stderr)
	}
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"ls --token stranger", exitFailed, "this token may not list all its mailboxes"},
		{"ls --store reports", exitFailed, "there is no store reports"},
		{"ls --token nobody", exitFailed, "check --token or PENDINGCTL_TOKEN"},
		{"cancel --token reader " + r.ID, exitFailed,
			"may not do this; use a token with this right"},
		{"cancel --token stranger " + r.ID, exitFailed, "is not found"},
		{"ls --path /elsewhere", exitTrouble, "check that --server and --path are right"},
		{"ls --server nonsense", exitUsage, "--server"},
		{"ls --store UPPER", exitUsage, "--store"},
		{"ls --store=", exitUsage, "PENDINGCTL_STORE"},
		{"ls --limit 0", exitUsage, "--limit"},
		{"show", exitUsage, "ID is missing"},
		{"show nonsense", exitUsage, "is not the id of a request"},
		{"watch nonsense", exitUsage, "is not the id of a request"},
		{"cancel nonsense", exitUsage, "is not the id of a request"},
		{"top --interval 1ms", exitUsage, "--interval"},
		{"shw", exitUsage, `unknown command "shw"; did you mean show?`},
	} {
		t.Run(tc.args, func(t *testing.T) {
			s := *s
			s.T = t
			s.want(s.call(strings.Fields(tc.args)...), tc.code, tc.says)
		})
	}
}

func TestABusyServerRefuses(t *testing.T) {
	s := &storeSession{repeats: &repeats{}}
	err := s.explained(t.Context(), "request 1", fmt.Errorf("get: %w", remote.ErrTooMany))
	if code := exitCode(t.Context(), err); code != exitFailed ||
		!strings.HasSuffix(err.Error(), "the server is busy, so try again later") {
		t.Errorf("exit %d: %v", code, err)
	}
}

func TestTheShellCompletesMailboxesAndFormats(t *testing.T) {
	s := newShelf(t, 0)
	s.create("device-1", "?")
	s.create("other", "?")
	for _, shells := range []string{"device$(reboot)", "device`reboot`", "device;x", "device x"} {
		s.create(shells, "?") // a shell runs some of what it completes
	}
	if r := s.call("__complete", "ls", "dev"); !strings.HasPrefix(r.stdout, "device-1\n:") {
		t.Errorf("got %+v", r)
	}
	s.want(s.call("__complete", "ls", "-o", ""), exitOK, "table\njson\n")
	r := s.call("__complete", "ls", "--token", "nobody", "dev")
	if !strings.HasPrefix(r.stdout, ":") {
		t.Errorf("without a valid token: got %+v", r)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		s.want(s.call("completion", shell), exitOK, "pendingctl")
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	s := newShelf(t, 0)
	for _, command := range []string{"ls", "show", "watch", "cancel", "top", "ping", "update",
		"models", "skills", "skills list", "skills import"} {
		s.want(s.call(append(strings.Fields(command), "--help")...), exitOK,
			"Usage:\n  pendingctl "+command)
	}
}

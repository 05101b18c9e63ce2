package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/daemon"
	"github.com/pendingq/pendingq/skills/wire"
)

// laptop is a runtime: a machine on which daemons run, one after another.
type laptop struct {
	*service
	id     string
	caller *caller
	slots  int           // how many requests its daemon works on at a time
	wait   time.Duration // how long nodes may park its heartbeats; negative: not at all
}

// run runs daemons until ctx ends.
func (l *laptop) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := l.runDaemon(ctx); err != nil {
			l.Error(err)
			return
		}
		calls.Pass(l.scaled(time.Second))
	}
}

func (l *laptop) runDaemon(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	dead, die := context.WithCancel(context.Background())
	defer die()
	p := &process{laptop: l, dead: dead, end: end, die: die}
	d, err := daemon.New(daemon.Config{Server: "http://nodes", RuntimeID: l.id, Token: l.id,
		Handlers: p.handlers(),
		Client:   &http.Client{Transport: p}, Wait: l.wait, Interval: l.scaled(15 * time.Second),
		MaxConcurrent: l.slots,
		Grace:         l.scaled(5 * time.Second), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// process is one run of a daemon. After its death its calls reach no node, and its handlers do
// nothing.
type process struct {
	*laptop
	dead context.Context
	end  func() // asks it to stop
	die  func() // kills it

	killed atomic.Bool
}

func (p *process) kill() {
	p.killedDaemons.Add(1)
	p.killed.Store(true)
	p.die()
	p.end()
}

// RoundTrip makes the daemon's calls, and notes them in the ledger.
func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.dead.Err() != nil {
		return tooLate(r)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.dead, cancel)()
	asked, began := copyOf(r.GetBody()), time.Now()
	p.sends(r, asked)
	resp, err := p.caller.RoundTrip(r.WithContext(ctx))
	if p.dead.Err() != nil {
		return tooLate(r)
	}
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		return resp, err
	}
	answer := copyOf(resp.Body, nil)
	resp.Body = io.NopCloser(strings.NewReader(answer))
	p.gets(r, resp, asked, answer, began)
	return resp, nil
}

// tooLate returns the answer to a call of a dead daemon: 410, after which a daemon does not repeat
// the call.
func tooLate(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusGone, Body: http.NoBody, Request: r}, nil
}

// copyOf reads a body that is in memory.
func copyOf(body io.Reader, _ error) string {
	text, _ := io.ReadAll(body)
	return string(text)
}

// sends notes a call that is about to be sent.
func (p *process) sends(r *http.Request, body string) {
	if nameOf(r) == "heartbeat" {
		p.ledger.beats(p, false)
		return
	}
	p.reports(r, func(e *errand) {
		if isSign(body) {
			return
		}
		e.reports[body] = true
		e.tries++
		e.reporter = p
	})
}

func claimOf(heartbeat string) string {
	var beat wire.Heartbeat
	_ = json.Unmarshal([]byte(heartbeat), &beat) // the daemon wrote it
	return beat.ClaimID
}

// gets notes the answer to a call.
func (p *process) gets(r *http.Request, resp *http.Response, asked, answer string,
	began time.Time) {
	switch {
	case resp.StatusCode != http.StatusOK:
		p.Errorf("the daemon of %s sent %s to %s and got %d %s", p.id, asked, r.URL.Path,
			resp.StatusCode, answer)
	case nameOf(r) == "heartbeat":
		p.brings(claimOf(asked), answer)
	default:
		p.reports(r, func(e *errand) { e.taken(isSign(asked), began, time.Now()) })
	}
}

// isSign tells a sign of life from a final report.
func isSign(report string) bool { return parse(report).Status == string(pending.StatusRunning) }

// reports changes the errand of a report.
func (p *process) reports(r *http.Request, change func(*errand)) {
	path := strings.TrimPrefix(r.URL.Path, "/api/daemon/runtimes/"+p.id)
	path = strings.TrimSuffix(path, "/result")
	last := strings.LastIndex(path, "/")
	p.ledger.note(routeOf(path[:last]), p.id, path[last+1:], change)
}

// brings notes the answer to a heartbeat.
func (p *process) brings(claimID, answer string) {
	var got wire.Assignments
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		p.Errorf("a heartbeat was answered %s", answer)
		return
	}
	p.ledger.beats(p, true)
	note := func(path, id string) {
		p.ledger.note(routeOf(path), p.id, id, func(e *errand) { e.claims[claimID] = true })
	}
	for path, a := range map[string]*wire.Assignment{"/local-skills": got.List,
		"/ping": got.Ping, "/models": got.ModelList} {
		if a != nil {
			note(path, a.ID)
		}
	}
	for _, i := range got.Imports {
		note("/local-skills/import", i.ID)
	}
	if got.Update != nil {
		note("/update", got.Update.ID)
	}
}

func (p *process) handlers() daemon.Handlers {
	return daemon.Handlers{
		List: func(ctx context.Context) (skills.List, error) {
			word, err := p.work(ctx, "/local-skills", "")
			return skills.List{Supported: true, Skills: []skills.LocalSkill{{Key: word}}}, err
		},
		Import: func(ctx context.Context, key string) (skills.Bundle, error) {
			word, err := p.work(ctx, "/local-skills/import", key)
			return skills.Bundle{Name: key, Content: word}, err
		},
		Ping: func(ctx context.Context) (string, error) { return p.work(ctx, "/ping", "") },
		Update: func(ctx context.Context, version string) (string, error) {
			return p.work(ctx, "/update", version)
		},
		Models: func(ctx context.Context) (skills.ModelList, error) {
			word, err := p.work(ctx, "/models", "")
			return skills.ModelList{Supported: true, Models: []skills.Model{{ID: word}}}, err
		},
	}
}

// work is the body of every handler. It takes a while and answers with a new word. Sometimes it
// kills or restarts its daemon, stalls past its deadline, panics or fails.
func (p *process) work(ctx context.Context, path, subject string) (word string, err error) {
	if p.dead.Err() != nil {
		return "", p.dead.Err()
	}
	r := routeOf(path)
	word = p.ledger.did(deed{p.id, r, subject})
	took := p.scaled(time.Duration(p.caller.upTo(2000)) * time.Millisecond)
	switch n := p.worked.Add(1); {
	case n%41 == 0:
		p.kill()
	case n%53 == 0:
		p.end()
	case n%23 == 0:
		p.stalled.Add(1)
		took = p.scaled(r.policy.RunningTimeout) * 4 / 3
	case n%37 == 0:
		panic(word)
	case n%11 == 0:
		err = errors.New(word)
	}
	select {
	case <-time.After(took + 1): // never due at once: see calls.Pass
		return word, err
	case <-ctx.Done():
	case <-p.dead.Done():
	}
	return "", context.Canceled
}

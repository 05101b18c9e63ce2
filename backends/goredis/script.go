package goredis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

//go:embed scripts
var sources embed.FS

// script is one operation, as the server runs it.
type script struct {
	source       string
	hashed, full [2]any // the first words of commands that run it by its hash, and by its source
}

// scripts are all operations.
type scripts struct{ create, get, payload, pending, claim, extend, cancel, end, list, probe script }

// onCluster has the functions of scripts/shared with a variant for a Cluster.
var onCluster = map[string]bool{"wake": true, "is_moving": true}

// newScripts reads the embedded scripts. Sharded chooses the variants for a Cluster.
func newScripts(sharded bool) scripts {
	load := func(name string) script {
		source := join.ReplaceAllStringFunc(read(name), func(line string) (functions string) {
			for _, name := range strings.Fields(line)[2:] {
				if sharded && onCluster[name] {
					name += "_cluster"
				}
				functions += read("shared/" + name)
			}
			return functions
		})
		sum := sha1.Sum([]byte(source))
		return script{source, [2]any{"evalsha", hex.EncodeToString(sum[:])}, [2]any{"eval", source}}
	}
	return scripts{create: load("create"), get: load("get"), payload: load("payload"),
		pending: load("pending"), claim: load("claim"), extend: load("extend"),
		cancel: load("cancel"), end: load("end"), list: load("list"), probe: load("probe")}
}

// join is a line of a script with names of functions in scripts/shared. The functions replace the
// line. A function costs the server time even if it is not called, so a script joins it as late as
// possible.
var join = regexp.MustCompile(`(?m)^ *-- join .*\n`)

func read(name string) string {
	source, err := sources.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // a script or this file names a missing file
	}
	return string(source)
}

// run runs a script by its hash, or by its source if the server does not know the hash.
func (b *Backend) run(ctx context.Context, s script, keys []string, args ...any) (any, error) {
	reply, err := b.process(ctx, command(ctx, s.hashed, keys, args))
	if unknownScript(err) {
		reply, err = b.process(ctx, command(ctx, s.full, keys, args))
	}
	return reply, s.explain(err)
}

// If a user may not run a command of a script, the error of Redis 7 has the line, not the command.
var (
	deniedLine    = regexp.MustCompile(`can't run this command.*@user_script:(\d+)`)
	calledCommand = regexp.MustCompile(`\bp?call\('([A-Z]+)'`)
)

// explain adds the name of the command to an error about a missing permission.
func (s script) explain(err error) error {
	if err == nil {
		return nil
	}
	if denied := deniedLine.FindStringSubmatch(err.Error()); denied != nil {
		number, _ := strconv.Atoi(denied[1])
		lines := append([]string{""}, strings.Split(s.source, "\n")...) // counted from 1
		line := lines[min(number, len(lines)-1)]
		if command := calledCommand.FindStringSubmatch(line); command != nil {
			return fmt.Errorf("goredis: the Redis user may not run %s: %w", command[1], err)
		}
	}
	return err
}

func (b *Backend) process(ctx context.Context, cmd *redis.Cmd) (any, error) {
	if _, err := b.send(ctx, cmd); err != nil {
		return nil, err // cmd may be in flight, so its result must not be read
	}
	return cmd.Result()
}

// send runs commands in one round trip, and returns their first error. Ordered reports whether the
// commands certainly ran in this order. With enough other commands in flight, send gathers the
// commands into a pipeline.
func (b *Backend) send(ctx context.Context, cmds ...redis.Cmder) (ordered bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	inFlight := b.inFlight.Add(1)
	defer b.inFlight.Add(-1)
	if b.pipeliner != nil && inFlight > b.alone {
		return false, b.gather(ctx, cmds)
	}
	return true, b.apart(ctx, cmds...)
}

// gatherer has the gathered commands that the autopipeliner does not have yet.
type gatherer struct {
	mu         sync.Mutex
	waiting    []*submission
	turn       chan struct{} // full while a caller submits the commands of all
	submitting []*submission // belongs to that caller
}

// submission is one gathered command. If it is a script, it is not sent after its caller has given
// up. Go-redis keeps a submitted command until it has a reply, and sends it again over a new
// connection. So an abandoned Claim would take a request later. Other gathered commands only read.
type submission struct {
	redis.Cmder
	ctx      context.Context // of the caller
	isScript bool
	future   redis.AutoFuture
	done     atomic.Bool // future is set
}

// Args implements [redis.Cmder]. Go-redis calls it to send the command. TIME takes the place of the
// script, since each command needs a reply.
func (s *submission) Args() []any {
	if s.isScript && s.ctx.Err() != nil {
		return []any{"time"}
	}
	return s.Cmder.Args()
}

// gather runs commands in one pipeline with the commands of other callers. It returns the first
// error of its own commands.
//
// The autopipeliner writes what it has as soon as it gets a command. So gather first yields to
// other callers: many are ready when the replies of a batch arrive. The first caller that continues
// submits the commands of all of them, which the autopipeliner then writes at once.
func (b *Backend) gather(ctx context.Context, cmds []redis.Cmder) (err error) {
	g, own := &b.gatherer, make([]submission, len(cmds))
	g.mu.Lock()
	for i, cmd := range cmds {
		_, isScript := cmd.(*redis.Cmd)
		own[i].Cmder, own[i].ctx, own[i].isScript = cmd, ctx, isScript
		g.waiting = append(g.waiting, &own[i])
	}
	g.mu.Unlock()
	runtime.Gosched()
	if !own[len(own)-1].done.Load() {
		select {
		case g.turn <- struct{}{}:
			g.submit(b.pipeliner)
			<-g.turn
		case <-ctx.Done(): // another caller submits, and the autopipeliner is full
			return ctx.Err()
		}
	}
	for i := range slices.Backward(own) { // the last reply usually arrives last
		if failure := own[i].future.WaitContext(ctx); failure != nil {
			err = failure
		}
	}
	return err
}

// submit submits the commands of all callers. The caller has the turn.
func (g *gatherer) submit(to *redis.AutoPipeliner) {
	g.mu.Lock()
	g.waiting, g.submitting = g.submitting[:0], g.waiting
	g.mu.Unlock()
	for _, s := range g.submitting {
		s.future = to.Submit(s.ctx, s)
		s.done.Store(true)
	}
	clear(g.submitting)
}

// apart runs commands in one round trip, without commands of other callers. It returns their first
// error.
func (b *Backend) apart(ctx context.Context, cmds ...redis.Cmder) (err error) {
	defer func() { b.noteLoss(ctx, err) }()
	if len(cmds) == 1 {
		return inTime(ctx, b.client.Process(ctx, cmds[0]))
	}
	pipe := b.client.Pipeline()
	_ = pipe.BatchProcess(ctx, cmds...) // queues the commands
	_, err = pipe.Exec(ctx)
	failed := slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() != nil })
	for _, cmd := range cmds {
		if failed {
			cmd.SetErr(inTime(ctx, cmd.Err()))
		} else {
			cmd.SetErr(err) // the error of a hook that refused the pipeline
		}
	}
	return inTime(ctx, err)
}

// inTime adds the context's error to a network timeout at the context's deadline. Go-redis does not
// add it for a pipeline, and on a busy machine not always for a single command.
func inTime(ctx context.Context, err error) error {
	var network net.Error
	deadline, ok := ctx.Deadline()
	if ok && !time.Now().Before(deadline) && errors.As(err, &network) && network.Timeout() {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// noteLoss makes a ClusterClient look for new masters after a network error. Without it the client
// looks once a minute.
func (b *Backend) noteLoss(ctx context.Context, err error) {
	var answer redis.Error
	if err == nil || errors.As(err, &answer) {
		return
	}
	if b.wakes.cluster != nil {
		b.wakes.cluster.ReloadState(ctx)
	}
}

// command is a command that runs a script.
func command(ctx context.Context, beginning [2]any, keys []string, args []any) *redis.Cmd {
	words := append(make([]any, 0, 3+len(keys)+len(args)), beginning[0], beginning[1], len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	return redis.NewCmd(ctx, append(words, args...)...)
}

func unknownScript(err error) bool {
	if err == nil {
		return false
	}
	// mutation: noscript
	return errors.Is(err, redis.ErrNoScript) || redis.HasErrorPrefix(err, "NOSCRIPT")
}

// verdict is the reply of a script for one request. Code is "ok" or "head" if the script has acted,
// and otherwise the reason for the refusal.
type verdict struct {
	now    time.Time // the server's time
	code   string
	record stored // for "exists" and "ended", at the time now; for "head", without its body
	head   string // the record that end.lua has written, up to the ending
}

// decide runs a script for one request.
func (b *Backend) decide(ctx context.Context, s script, id string, keys []string,
	args ...any) (verdict, error) {
	reply, err := b.run(ctx, s, keys, args...)
	return judge(id, reply, err)
}

// judge decodes the reply of a script for one request. A refusal without a record is an error. If
// the reply of end.lua is a head, its time of the update is the server's time.
func judge(id string, reply any, err error) (verdict, error) {
	if err != nil {
		return verdict{}, err
	}
	words, refused := reply.([]any)
	if !refused {
		words = []any{reply, "ok"}
	}
	var texts [3]string
	for i, word := range words[:min(3, len(words))] {
		texts[i], _ = word.(string)
	}
	var head string
	if len(texts[0]) > updatedEnd {
		head, texts[0] = texts[0], texts[0][updatedEnd-16:updatedEnd]
	}
	now, isTime := decodeTime(texts[0])
	if !isTime {
		return verdict{}, unexpected(reply)
	}
	v, detail := verdict{now: now, code: texts[1], head: head}, texts[2]
	switch v.code {
	case "ok", "unstaged":
		return v, nil
	case "head":
		rec, err := decodeHead(id, detail)
		v.record = stored{Record: rec.At(now)}
		return v, err
	case "exists", "ended":
		rec, err := decodeRecord(id, detail)
		v.record = rec.at(now)
		return v, err
	case "notfound":
		return v, backends.ErrNotFound
	case "stale":
		return v, backends.ErrStaleClaim
	case "full":
		return v, backends.ErrFull
	case "busy":
		return v, &backends.BusyError{ID: detail}
	case "corrupt":
		return v, &backends.CorruptError{ID: id, Err: errors.New(detail)}
	}
	return v, fmt.Errorf("goredis: a script replied with the unknown code %q", v.code)
}

// unexpected is the error for a reply in an unexpected form. It does not show the reply, which may
// have payloads.
func unexpected(reply any) error {
	return fmt.Errorf("goredis: a script replied with an unexpected %T", reply)
}

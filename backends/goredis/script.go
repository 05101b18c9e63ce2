package goredis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

//go:embed scripts
var sources embed.FS

// script is one operation, as the server runs it.
type script struct {
	source       string
	hashed, full [2]any // how commands begin that run it by its hash, and in full
}

// scripts are all operations.
type scripts struct{ create, get, payload, pending, claim, extend, cancel, end, probe script }

// onCluster names the functions that have another form for a Cluster.
var onCluster = map[string]bool{"wake": true, "is_moving": true}

// newScripts reads the embedded scripts. Sharded is for a Cluster.
func newScripts(sharded bool) scripts {
	load := func(name string) script {
		source := join.ReplaceAllStringFunc(read(name), func(line string) string {
			var functions strings.Builder
			for _, name := range strings.Fields(line)[2:] {
				if sharded && onCluster[name] {
					name += "_cluster"
				}
				functions.WriteString(read("shared/" + name))
			}
			return functions.String()
		})
		sum := sha1.Sum([]byte(source))
		return script{source, [2]any{"evalsha", hex.EncodeToString(sum[:])}, [2]any{"eval", source}}
	}
	return scripts{load("create"), load("get"), load("payload"), load("pending"), load("claim"), load("extend"),
		load("cancel"), load("end"), load("probe")}
}

// join is a line of a script that names functions of scripts/shared. They take the place of the
// line. A function costs the server time in each call, used or not, so scripts join it no earlier
// than needed.
var join = regexp.MustCompile(`(?m)^ *-- join .*\n`)

func read(name string) string {
	source, err := sources.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		panic(err) // a script or this file names a missing file
	}
	return string(source)
}

// run runs a script by its hash, and in full when the server does not have it. Both are single
// commands, so this also holds where the client gathers commands into pipelines.
func (b *Backend) run(ctx context.Context, s script, keys []string, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	reply, err := b.process(ctx, s.byHash(ctx, keys, args))
	if unknownScript(err) {
		reply, err = b.process(ctx, s.inFull(ctx, keys, args))
	}
	return reply, s.explain(err)
}

// Where a script was when its user lacked a right, which Redis 7 tells instead of which right it
// was, and what stands there.
var (
	deniedLine    = regexp.MustCompile(`can't run this command.*@user_script:(\d+)`)
	calledCommand = regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`)
)

// explain names the command that the server's user may not run, if that is what went wrong.
func (s script) explain(err error) error {
	if err == nil {
		return nil
	}
	match := deniedLine.FindStringSubmatch(err.Error())
	if match == nil {
		return err
	}
	number, _ := strconv.Atoi(match[1])
	lines := strings.Split(s.source, "\n")
	if number > len(lines) {
		return err
	}
	command := calledCommand.FindStringSubmatch(lines[number-1])
	if command == nil {
		return err
	}
	return fmt.Errorf("goredis: the Redis user may not run %s: %w", command[1], err)
}

// crowded reports whether enough commands are in flight for the next one to be gathered with
// others.
func (b *Backend) crowded() bool { return b.pipeliner != nil && b.inFlight.Load() >= b.alone }

func (b *Backend) process(ctx context.Context, cmd *redis.Cmd) (any, error) {
	crowded := b.crowded()
	b.inFlight.Add(1)
	defer b.inFlight.Add(-1)
	if crowded {
		letOthersSubmit()
		if err := b.pipeliner.Submit(ctx, cmd).WaitContext(ctx); err != nil {
			b.noteLoss(ctx, err)
			return nil, err // cmd may still be under way
		}
		return cmd.Result()
	}
	_ = b.client.Process(ctx, cmd) // cmd has the error
	b.noteLoss(ctx, cmd.Err())
	return cmd.Result()
}

// processBoth runs two commands in one round trip, and reports whether they ran in this order for
// sure. Its error is that of the first.
func (b *Backend) processBoth(ctx context.Context, first, second redis.Cmder) (ordered bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	crowded := b.crowded()
	b.inFlight.Add(1)
	defer b.inFlight.Add(-1)
	if crowded {
		letOthersSubmit()
		before, after := b.pipeliner.Submit(ctx, first), b.pipeliner.Submit(ctx, second)
		if err := before.WaitContext(ctx); err != nil {
			return false, err
		}
		_ = after.WaitContext(ctx) // second has its error, unless ctx has ended
		return false, ctx.Err()
	}
	pipe := b.client.Pipeline()
	_, _ = pipe.Process(ctx, first), pipe.Process(ctx, second) // queues them
	_, sent := pipe.Exec(ctx)
	if first.Err() == nil && second.Err() == nil {
		return true, sent // by a hook that refused both
	}
	return true, inTime(ctx, first.Err())
}

// letOthersSubmit lets the other callers that can run do so before the caller submits its command.
// They are many when the replies of a batch arrive. So the next batch holds several times as many
// commands, which saves the server up to a quarter of its time. A caller that is alone loses
// nothing.
func letOthersSubmit() { runtime.Gosched() }

// noteLoss has a ClusterClient look for a new master when one could not be reached, which it does
// once a minute by itself.
func (b *Backend) noteLoss(ctx context.Context, err error) {
	var answer redis.Error
	if err == nil || errors.As(err, &answer) {
		return
	}
	if cluster, ok := b.client.(interface{ ReloadState(context.Context) }); ok {
		cluster.ReloadState(context.WithoutCancel(ctx))
	}
}

func (s script) byHash(ctx context.Context, keys []string, args []any) *redis.Cmd {
	return command(ctx, s.hashed, keys, args)
}

func (s script) inFull(ctx context.Context, keys []string, args []any) *redis.Cmd {
	return command(ctx, s.full, keys, args)
}

func command(ctx context.Context, beginning [2]any, keys []string, args []any) *redis.Cmd {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, beginning[0], beginning[1], len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	return redis.NewCmd(ctx, append(words, args...)...)
}

func unknownScript(err error) bool {
	return err != nil && (errors.Is(err, redis.ErrNoScript) || redis.HasErrorPrefix(err, "NOSCRIPT"))
}

// verdict is the reply of a script that acts on one request: the server's time, a code, and a
// detail. If all went well, the code is "ok", and the detail is the record or "".
type verdict struct {
	now    time.Time
	code   string
	detail string
}

// decide runs such a script.
func (b *Backend) decide(ctx context.Context, s script, id string, keys []string, args ...any) (verdict, error) {
	reply, err := b.run(ctx, s, keys, args...)
	if err != nil {
		return verdict{}, err
	}
	return judge(reply, id)
}

// judge turns what such a script answered into a verdict, and a refusal without a record into its
// error.
func judge(reply any, id string) (verdict, error) {
	v, err := unpack(reply)
	if err != nil {
		return verdict{}, err
	}
	switch v.code {
	case "ok", "is", "exists", "ended", "unstaged":
		return v, nil
	case "notfound":
		return v, backends.ErrNotFound
	case "stale":
		return v, backends.ErrStaleClaim
	case "full":
		return v, backends.ErrFull
	case "busy":
		return v, &backends.BusyError{ID: v.detail}
	case "corrupt":
		return v, &backends.CorruptError{ID: id, Err: errors.New(v.detail)}
	}
	return v, fmt.Errorf("goredis: a script answered %q, which this version does not know", v.code)
}

func unpack(reply any) (v verdict, err error) {
	now, isCode, isTime := reply, true, false
	v.code = "ok"
	if text, _ := reply.(string); len(text) > updatedEnd {
		now, v.detail = text[updatedEnd-16:updatedEnd], text
	}
	if words, more := reply.([]any); more && len(words) >= 2 {
		now = words[0]
		v.code, isCode = words[1].(string)
		if len(words) > 2 {
			v.detail, _ = words[2].(string)
		}
	}
	if v.now, isTime = decodeTime(now); !isTime || !isCode {
		return v, unexpected(reply)
	}
	return v, nil
}

// unexpected says that a reply has not the form that the scripts give it, without what it holds.
func unexpected(reply any) error {
	return fmt.Errorf("goredis: a script answered with an unexpected %T", reply)
}

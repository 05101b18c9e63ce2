// Package goredis keeps pending requests in Redis 6.2 or later, or in Valkey: standalone, behind
// Sentinel or as a Cluster, through go-redis v9. All nodes that use the same server and prefix see
// the same requests:
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
//	backend, err := goredis.New(client, nil)
//	...
//	store, err := pending.New(backend, codec.JSON[Job](), policy)
//
// # Deadlines
//
// Set ContextTimeoutEnabled on the client, and give each context a deadline. Without the option
// go-redis waits for its own timeouts and retries, five seconds and more. While a server does not
// answer, go-redis does not notice cancellations.
//
// # Atomic operations
//
// Every operation is one round trip, decided by the server's clock. An operation that writes is one
// script. If a reply was lost, the command that go-redis sends again has no second effect. So leave
// the retries of go-redis on. A server that does not know a script gets it in full.
//
// # Large payloads
//
// A payload of more than 4 KiB has a key of its own and bypasses the scripts, which would hold up
// the server ten times as long. Storing it takes no further round trip, except on a Cluster.
// Reading it takes a second one.
//
// # Clusters
//
// All keys of a mailbox share a hash tag, one of 65,536, that is a hash of the mailbox. So a
// mailbox stays on one node, and mailboxes spread over all. Scripts build the keys of records from
// the ids in a queue. Redis and Valkey allow that: these keys have the tag of the declared keys.
//
// Give all nodes the same kind of client. A ClusterClient wakes waiters with SPUBLISH, any other
// client with PUBLISH, and neither hears the other. Their waiters then only poll.
package goredis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

// Options changes how a Backend uses the server. The zero value is right for most.
type Options struct {
	// Prefix stands in front of every key, to keep installations that share a server apart. It has
	// at most 64 printable ASCII characters and no braces. Default: "pendingq:".
	Prefix string

	// PollInterval is how often a waiter looks again without a wake-up, give or take a quarter.
	// Wake-ups arrive within a millisecond or so. This interval bounds how long a lost wake-up
	// delays a waiter, and how late an expired lease is claimed again. At least 10 ms. Default: 15
	// s.
	PollInterval time.Duration

	// AutoPipeline says when commands are gathered into pipelines. Default: AutoPipelineByLoad.
	AutoPipeline AutoPipeline
}

// AutoPipeline says when the full-duplex autopipeliner of go-redis gathers the commands of
// concurrent callers. It sends over one connection, while replies arrive. With many callers this
// means fewer packets and less work for the server. A single caller gains nothing. The guarantees
// of an operation stay the same. On a Cluster no command is gathered: go-redis 9.23 may have two
// goroutines write one command when a pipeline is redirected.
//
// A process hook of the client sees each command, and its error reaches the caller. But go-redis
// sends a gathered command without waiting for its hooks. So a hook cannot prevent it: as with a
// lost reply, the operation may have happened. Use AutoPipelineNever with hooks that refuse.
//
// The client keeps one autopipeliner, made with the options of its first user, and closes it with
// itself.
type AutoPipeline int

// The values of AutoPipeline.
const (
	AutoPipelineByLoad AutoPipeline = iota // while four or more others of this Backend are in flight
	AutoPipelineNever                      // each command goes by itself
	AutoPipelineAlways                     // all commands are gathered
)

const (
	// aloneByLoad is how many commands may be in flight before further ones are gathered. With one
	// caller a command by itself is faster; from eight callers on, gathered commands are.
	aloneByLoad = 4

	// gatherFor is how long the autopipeliner gathers commands before it writes, once more than a
	// hundred are in flight. Of 0 to 300 µs it gave the most lifecycles a second with 512 callers.
	gatherFor = 50 * time.Microsecond
)

// check fills in defaults and returns what cannot work.
func (o Options) check() (Options, error) {
	o.Prefix = cmp.Or(o.Prefix, "pendingq:")
	o.PollInterval = cmp.Or(o.PollInterval, 15*time.Second)
	refused := func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }
	switch {
	case len(o.Prefix) > 64 || strings.ContainsFunc(o.Prefix, refused):
		return o, fmt.Errorf("goredis: Options.Prefix is %q, %d bytes; "+
			"want at most 64 of printable ASCII, and no brace", o.Prefix, len(o.Prefix))
	case o.PollInterval < 10*time.Millisecond:
		return o, fmt.Errorf("goredis: Options.PollInterval is %v, want at least 10ms", o.PollInterval)
	case o.AutoPipeline < AutoPipelineByLoad || o.AutoPipeline > AutoPipelineAlways:
		return o, fmt.Errorf("goredis: Options.AutoPipeline is %d, none of its constants", o.AutoPipeline)
	}
	return o, nil
}

var _ backends.Waker = (*Backend)(nil)
var _ backends.ManyClaimer = (*Backend)(nil)

// Backend is a [backends.Backend] and a [backends.Waker] in Redis. Make one with [New].
type Backend struct {
	client    redis.UniversalClient
	pipeliner *redis.AutoPipeliner // nil if commands are never gathered
	alone     int64                // how many commands in flight are not gathered
	inFlight  atomic.Int64
	scripts   scripts
	prefix    string
	poll      time.Duration
	wakes     *wakes
}

// New returns a Backend that uses the client, which stays the caller's to close. It sends nothing
// yet. Opts may be nil. New refuses a client that cannot work: nil, a nil pointer, and a
// redis.Ring, whose shards would part the keys of one script.
func New(client redis.UniversalClient, opts *Options) (*Backend, error) {
	if err := checkClient(client); err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &Options{}
	}
	o, err := opts.check()
	if err != nil {
		return nil, err
	}
	b := &Backend{client: client, prefix: o.Prefix, poll: o.PollInterval, wakes: newWakes(client)}
	cluster := b.wakes.cluster != nil
	b.scripts = newScripts(cluster)
	if cluster || o.AutoPipeline == AutoPipelineNever {
		return b, nil
	}
	if o.AutoPipeline == AutoPipelineByLoad {
		b.alone = aloneByLoad
	}
	pipelining := redis.DefaultAutoPipelineOptions()
	pipelining.FullDuplex, pipelining.MaxFlushDelay = true, gatherFor
	if b.pipeliner, err = client.AsyncAutoPipelineWithOptions(pipelining); err != nil {
		return nil, fmt.Errorf("goredis: start the autopipeliner: %w", err)
	}
	return b, nil
}

// checkClient returns why a client cannot work. It subscribes to no channel, as a link does when it
// begins. That sends nothing, and panics for a client that cannot work.
func checkClient(client redis.UniversalClient) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("goredis: the client (%T) cannot subscribe: it is nil, was not made by its "+
				"constructor, or is a redis.Ring, whose shards part the keys of a script: %v", client, cause)
		}
	}()
	return client.Subscribe(context.Background()).Close()
}

// Close ends the subscriptions for wake-ups, but leaves the client open. Remaining waiters poll
// from then on. A Backend without waiters has nothing to close.
func (b *Backend) Close() error {
	w := b.wakes
	w.mu.Lock()
	w.end()
	w.mu.Unlock()
	w.tasks.Wait()
	return nil
}

// Create implements [backends.Backend].
func (b *Backend) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	k := b.keys(backends.PartitionOf(c.ID), c.Store)
	exclusive := 0
	if c.Exclusive {
		exclusive = 1
	}
	// mutation: retention
	terms := fmt.Sprint(c.PendingTimeout.Microseconds(), millis(c.PendingTimeout+c.Retention),
		millis(c.PendingTimeout+untilLast(c.Terms, 1)+time.Second), c.MaxPending, exclusive)
	keys, in := []string{k.record(c.ID), k.queue(c.Mailbox)}, body{codec: c.Codec, payload: c.Payload}
	v, err := b.store(ctx, b.scripts.create, c.ID, k, keys, in,
		func(in body) []any { return []any{terms, encodeNew(c, in)} })
	if err != nil {
		return backends.Record{}, err
	}
	if v.code == "exists" {
		return b.whole(ctx, c.Store, v.record)
	}
	return newRecord(c, v.now), nil
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, store, id string) (backends.Record, error) {
	s, err := b.read(ctx, store, id)
	if err != nil {
		return backends.Record{}, err
	}
	return b.whole(ctx, store, s)
}

// read reads a record without its payload, if that has a key of its own.
func (b *Backend) read(ctx context.Context, store, id string) (stored, error) {
	key := b.keys(backends.PartitionOf(id), store).record(id)
	if _, single := b.client.(*redis.Client); single {
		rec, sure, err := b.readPlain(ctx, id, key)
		if err != nil || sure {
			return rec, err
		}
	}
	reply, err := b.run(ctx, b.scripts.get, []string{key})
	if errors.Is(err, redis.Nil) {
		return stored{}, backends.ErrNotFound
	}
	if err != nil {
		return stored{}, err
	}
	return decodeGet(id, reply)
}

// readPlain reads a record with TIME and then GET, in one round trip. They cost the server less
// than half of a script. If the record was updated in between, it is read as of then. On a Cluster
// TIME has no slot. Go-redis may repeat gathered commands in another order. Then readPlain is not
// sure of a record that is past its deadline.
func (b *Backend) readPlain(ctx context.Context, id, key string) (rec stored, sure bool, _ error) {
	clock, get := redis.NewTimeCmd(ctx, "time"), redis.NewStringCmd(ctx, "get", key)
	ordered, err := b.send(ctx, clock, get)
	if errors.Is(err, redis.Nil) {
		return stored{}, false, backends.ErrNotFound
	}
	if err != nil {
		return stored{}, false, err
	}
	rec, err = decodeRecord(id, get.Val())
	if err != nil {
		return stored{}, false, err
	}
	now := clock.Val().UTC()
	if now.Before(rec.UpdatedAt) {
		now = rec.UpdatedAt
	}
	// mutation: get-deadline
	return rec.at(now), ordered || rec.Ended() || !now.After(rec.Deadline), nil
}

// HasPending implements [backends.Backend].
func (b *Backend) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	k := b.keys(backends.Partition(mailbox), store)
	reply, err := b.run(ctx, b.scripts.pending, []string{k.queue(mailbox)}, k.record(""))
	return reply == int64(1), err
}

// Claim implements [backends.Backend].
func (b *Backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	keys, terms := b.claimWords(c)
	reply, err := b.run(ctx, b.scripts.claim, keys, terms)
	return b.claimed(ctx, c, reply, err)
}

// claimWords are the keys and the argument of claim.lua.
func (b *Backend) claimWords(c backends.Claim) (keys []string, terms string) {
	partition := backends.Partition(c.Mailbox)
	keys = []string{b.keys(partition, "").claim(c.ID)}
	for _, from := range c.From {
		queue := b.keys(partition, from.Store).queue(c.Mailbox)
		keys = append(keys, queue)
		terms += encodeFrom(len(queue)-len("q/"+c.Mailbox), from)
	}
	return keys, terms
}

// claimed reads the reply of claim.lua, and large payloads.
func (b *Backend) claimed(ctx context.Context, c backends.Claim, reply any,
	err error) ([]backends.Claimed, error) {
	results := make([]backends.Claimed, len(c.From))
	if errors.Is(err, redis.Nil) {
		return results, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := decodeClaimed(reply, c.From)
	if err != nil {
		return nil, err
	}
	for i, got := range all {
		if err := b.fetchClaimed(ctx, c.From[i].Store, &got); err != nil {
			return nil, err
		}
		results[i].Errs = got.errs
		for _, s := range got.records {
			if s.payload == "" {
				results[i].Records = append(results[i].Records, s.Record)
			}
		}
	}
	return results, nil
}

// Extend implements [backends.Backend].
func (b *Backend) Extend(ctx context.Context, e backends.Extend) (backends.Lease, error) {
	k := b.keys(backends.PartitionOf(e.ID), e.Store)
	t, release := e.Terms, 0
	if e.Release {
		t.RunningTimeout, release = e.After, 1
	}
	last := untilLast(t, e.Attempt)
	terms := fmt.Sprintf("%04d %d %d %d %d", e.Attempt, t.RunningTimeout.Microseconds(),
		last.Microseconds(), millis(last+e.Retention), release)
	in := body{codec: e.Codec, payload: e.Payload}
	v, err := b.store(ctx, b.scripts.extend, e.ID, k, b.changed(k, e.ID, e.Mailbox, in), in,
		func(in body) []any {
			if in.codec == "" {
				return []any{terms}
			}
			return []any{terms, in.append(nil)}
		})
	if err := b.ended(ctx, e.Store, v, err); err != nil {
		return backends.Lease{}, err
	}
	if rec := v.record; v.code == "is" {
		return backends.Lease{UpdatedAt: v.now, Deadline: rec.Deadline,
			CancelledAs: rec.CancelledAs, CancelReason: rec.CancelReason}, nil
	}
	lease := backends.Lease{UpdatedAt: v.now, Deadline: v.now.Add(t.RunningTimeout)}
	if e.Release {
		lease.Deadline = lease.Deadline.Add(-time.Microsecond)
	}
	return lease, nil
}

// Cancel implements [backends.Backend].
func (b *Backend) Cancel(ctx context.Context, c backends.Cancel) (backends.Record, error) {
	k := b.keys(backends.PartitionOf(c.ID), c.Store)
	v, err := b.decide(ctx, b.scripts.cancel, c.ID, b.changed(k, c.ID, c.Mailbox, body{}),
		fmt.Sprint(c.Grace.Microseconds(), " ", millis(c.Retention)), encodeEnding(c.Outcome, c.Error))
	if err := b.ended(ctx, c.Store, v, err); err != nil {
		return backends.Record{}, err
	}
	return v.record.Record, nil
}

// End implements [backends.Backend].
func (b *Backend) End(ctx context.Context, e backends.End) (backends.Record, error) {
	k := b.keys(backends.PartitionOf(e.ID), e.Store)
	in := body{codec: e.Codec, payload: e.Payload}
	ending := encodeEnding(e.Outcome, e.Error)
	speaker := fmt.Sprintf("%04d", e.Attempt)
	v, err := b.store(ctx, b.scripts.end, e.ID, k, b.changed(k, e.ID, e.Mailbox, in), in,
		func(in body) []any { return []any{speaker, millis(e.Retention), in.append(slices.Clip(ending))} })
	if err := b.ended(ctx, e.Store, v, err); err != nil {
		return backends.Record{}, err
	}
	rec, err := decodeHead(e.ID, v.head+string(ending))
	return rec.At(v.now), err
}

// changed are the keys of a script that changes a request.
func (b *Backend) changed(k keys, id, mailbox string, in body) []string {
	if b.wakes.cluster != nil || len(in.payload) > largePayload {
		return []string{k.record(id), k.queue(mailbox)}
	}
	return []string{k.record(id)}
}

// ended turns a verdict that a request has ended into its error.
func (b *Backend) ended(ctx context.Context, store string, v verdict, err error) error {
	if err != nil || v.code != "ended" {
		return err
	}
	rec, err := b.whole(ctx, store, v.record)
	if err != nil {
		return err
	}
	return &backends.EndedError{Record: rec}
}

// untilLast is how far away the last deadline is that a claim or an extension of an attempt sets.
func untilLast(t backends.Terms, attempt int) time.Duration {
	if attempt < t.MaxAttempts {
		return t.RunningTimeout + t.PendingTimeout
	}
	return t.RunningTimeout
}

// millis is a time to live that covers d.
func millis(d time.Duration) int64 { return d.Milliseconds() + 1 }

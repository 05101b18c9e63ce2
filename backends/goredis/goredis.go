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
// answer, go-redis does not notice cancellations. An operation whose context has ended may have
// happened, or may still happen if its command was sent before. Go-redis does not send it again.
//
// # Atomic operations
//
// Every operation uses the server's clock. It is one round trip, with three exceptions: its payload
// is large, the server does not know the script, or a gathered Get finds a request past its
// deadline. An operation that writes is one script. After a lost reply go-redis sends the command
// again. The repeat has no second effect, so leave the retries of go-redis on. If the server does
// not know a script, the Backend sends the whole script, in a second round trip.
//
// # Large payloads
//
// A payload of more than 4 KiB has its own key and bypasses the scripts. A script would block the
// server for ten times as long. Storing such a payload takes no further round trip, except on a
// Cluster. Reading it takes a second round trip. A claim takes one more for each store that has
// such payloads.
//
// # Clusters
//
// All keys of a mailbox share a hash tag: the partition, one of 65,536 hashes of mailboxes. So each
// mailbox is on one node, and the mailboxes spread over all nodes. Scripts build the keys of
// records from the ids in a queue, and do not declare these keys. Redis and Valkey allow that,
// since these keys have the tag of the declared keys.
//
// Use the same kind of client in all processes. A ClusterClient wakes waiters with SPUBLISH, any
// other client with PUBLISH. With both kinds, waiters miss the other kind's signals and only poll.
//
// For a Cluster pass a *redis.ClusterClient to [New], or a type that embeds one. The Backend does
// not recognise a ClusterClient behind an interface or an AutoPipeliner. Then lists of mailboxes
// have gaps, and a slot that moves can lose requests. [Diagnose] reports such a client.
package goredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

var _ backends.Waker = (*Backend)(nil)
var _ backends.ManyClaimer = (*Backend)(nil)

// Backend is a [backends.Backend] in Redis. It is also a [backends.Waker], a [backends.ManyClaimer]
// and a [backends.Lister]. Make one with [New].
type Backend struct {
	client    redis.UniversalClient
	single    bool                 // the client is certainly no ClusterClient: see isSingle
	pipeliner *redis.AutoPipeliner // nil if commands are never gathered
	alone     int64                // a command is gathered if this many others are in flight
	inFlight  atomic.Int64
	gatherer  gatherer
	scripts   scripts
	prefix    string
	poll      time.Duration
	wakes     *wakes
}

// New returns a Backend that uses the client. It sends no command. The caller closes the client.
// Opts may be nil. New refuses a client that cannot work: nil, a nil pointer, and a redis.Ring,
// whose shards would separate the keys of one script.
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
	b.single = isSingle(client)
	b.scripts = newScripts(b.wakes.cluster != nil)
	if !b.single || o.AutoPipeline == AutoPipelineNever {
		return b, nil
	}
	if o.AutoPipeline == AutoPipelineByLoad {
		b.alone = aloneByLoad
	}
	pipelining := redis.DefaultAutoPipelineOptions()
	pipelining.FullDuplex, pipelining.MaxFlushDelay = true, gatherFor
	b.gatherer.turn = make(chan struct{}, 1)
	if b.pipeliner, err = client.AsyncAutoPipelineWithOptions(pipelining); err != nil {
		return nil, fmt.Errorf("goredis: start the autopipeliner: %w", err)
	}
	return b, nil
}

// clusterClient has the methods of a redis.ClusterClient that a Backend uses. A type that embeds a
// *redis.ClusterClient has them, too.
type clusterClient interface {
	redis.UniversalClient
	ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	MasterForKey(context.Context, string) (*redis.Client, error)
	ReloadState(context.Context)
}

// isSingle reports whether a client is a *redis.Client or embeds one.
func isSingle(client redis.UniversalClient) bool {
	_, single := client.(interface{ Options() *redis.Options })
	return single
}

// checkClient returns an error for a client that cannot work. It calls Subscribe without a channel.
// This call sends no command, and panics if the client cannot work.
func checkClient(client redis.UniversalClient) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("goredis: the client (%T) cannot subscribe: it is nil, "+
				"was not made by its constructor, or is a redis.Ring, "+
				"whose shards separate the keys of a script: %v", client, cause)
		}
	}()
	return client.Subscribe(context.Background()).Close()
}

// Close ends the subscriptions for wake-ups. It does not close the client. Remaining waiters only
// poll from then on. A Backend that never had waiters needs no Close.
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
	terms := fmt.Sprintf("%d %d %d %d %d",
		// mutation: retention
		c.PendingTimeout.Microseconds(), millis(c.PendingTimeout+c.Retention),
		millis(c.PendingTimeout+untilLast(c.Terms, 1)+time.Second), c.MaxPending, exclusive)
	keys := []string{k.record(c.ID), k.queue(c.Mailbox)}
	in := body{codec: c.Codec, payload: c.Payload}
	v, err := b.store(ctx, b.scripts.create, c.ID, k, keys, in,
		func(in body) []any { return []any{terms, encodeNew(c, in)} })
	if err != nil {
		return backends.Record{}, err
	}
	if v.code == "exists" {
		return b.whole(ctx, c.Store, v.record)
	}
	return c.Record(v.now), nil
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, store, id string) (backends.Record, error) {
	s, err := b.read(ctx, store, id)
	if err != nil {
		return backends.Record{}, err
	}
	return b.whole(ctx, store, s)
}

// read reads a record, but not a payload with its own key.
func (b *Backend) read(ctx context.Context, store, id string) (stored, error) {
	key := b.keys(backends.PartitionOf(id), store).record(id)
	if b.single {
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

// readPlain reads a record with TIME and then GET, in one round trip. Both together cost the server
// less than half of a script. If the record was updated between TIME and GET, readPlain returns the
// record as it read at the update. On a Cluster readPlain does not work, since TIME has no slot.
//
// Sure is false if the record reads as past its deadline, but may have been read before the clock:
// go-redis may repeat gathered commands in another order. An End may have followed the GET.
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

// claimWords returns the keys and the argument of claim.lua.
func (b *Backend) claimWords(c backends.Claim) (keys []string, terms string) {
	partition := backends.Partition(c.Mailbox)
	keys = []string{b.keys(partition, "").claim(c.ID)}
	for _, from := range c.From {
		k := b.keys(partition, from.Store)
		keys = append(keys, k.queue(c.Mailbox))
		terms += encodeFrom(len(k.start)+1, from)
	}
	return keys, terms
}

// claimed decodes the reply of claim.lua and fetches large payloads.
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
	terms := fmt.Sprintf("%s %d %d %d %d", encodeFence(e.Attempt, e.StartedAt),
		t.RunningTimeout.Microseconds(), last.Microseconds(), millis(last+e.Retention), release)
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
	if rec := v.record; v.code == "head" {
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
		fmt.Sprintf("%d %d", c.Grace.Microseconds(), millis(c.Retention)),
		encodeEnding(c.Outcome, c.Error))
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
	fence := encodeFence(e.Attempt, e.StartedAt)
	v, err := b.store(ctx, b.scripts.end, e.ID, k, b.changed(k, e.ID, e.Mailbox, in), in,
		func(in body) []any {
			return []any{fence, millis(e.Retention), in.append(slices.Clip(ending))}
		})
	if err := b.ended(ctx, e.Store, v, err); err != nil {
		return backends.Record{}, err
	}
	rec, err := decodeHead(e.ID, v.head+string(ending))
	return rec.At(v.now), err
}

// changed returns the keys of a script that changes a request. No script reads or writes the queue
// by this key, except for is_moving on a Cluster. There the key makes a node refuse the script
// (TRYAGAIN) while the node has only one of the two keys. A large payload must be KEYS[3], so the
// key of the queue comes before it.
func (b *Backend) changed(k keys, id, mailbox string, in body) []string {
	if b.wakes.cluster != nil || len(in.payload) > largePayload {
		return []string{k.record(id), k.queue(mailbox)}
	}
	return []string{k.record(id)}
}

// ended returns an EndedError for the verdict "ended".
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

// untilLast is the time from a Claim or an Extend of an attempt to the last deadline that it sets.
func untilLast(t backends.Terms, attempt int) time.Duration {
	if attempt < t.MaxAttempts {
		return t.RunningTimeout + t.PendingTimeout
	}
	return t.RunningTimeout
}

// millis rounds d up to a time to live in milliseconds. The result is always longer than d.
func millis(d time.Duration) int64 { return d.Milliseconds() + 1 }

// Package goredis keeps pending requests in Redis 6.2 or later, or in Valkey: standalone, behind Sentinel or as
// a Cluster, through go-redis v9. All nodes that use the same server and prefix see the same requests:
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
//	backend, err := goredis.New(client, nil)
//	...
//	store, err := pending.New(backend, codec.JSON[Job](), policy)
//
// Set ContextTimeoutEnabled on the client: go-redis otherwise waits for its own ReadTimeout, DialTimeout and
// retries, five seconds and more, whatever the deadline of the context that a call gets.
//
// Every operation is one script and one round trip, decided by the server's clock. A command that go-redis sends
// again because its reply was lost has no second effect, so leave its retries on. Scripts are sent in full when
// the server does not know them, as after a restart or SCRIPT FLUSH.
//
// Large answers pass by the scripts, which would hold up the server ten times as long as storing them does: over 4 KiB, End
// sends one beside its script, in the same round trip but on a Cluster; over 16 KiB, Get fetches it in a second one.
//
// All keys of a mailbox share a hash tag, one of 65,536, that is a hash of the mailbox, so a Cluster keeps each
// mailbox on one node and spreads mailboxes over all. Scripts build the keys of single records from the ids that
// they find in a queue. These share the hash tag of the keys that are declared, as Redis, Valkey and their
// clusters want; an engine that insists that every key is declared does not fit.
package goredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

// Options changes how a Backend uses the server. The zero value is right for most.
type Options struct {
	// Prefix stands in front of every key, to keep installations that share a server apart. It has at most 64
	// printable ASCII characters and no braces, which would move the hash tag. Default: "pendingq:".
	Prefix string

	// PollInterval is how often those who wait for something look again although no wake-up came, give or take a
	// quarter. Wake-ups are pushed within a millisecond or so; this bounds what one that is lost can cost, and how
	// late a lapsed claim is found that may be claimed again. At least 10 ms. Default: 15 s.
	PollInterval time.Duration

	// AutoPipeline has go-redis gather the commands of concurrent callers into pipelines. Default: off.
	AutoPipeline AutoPipeline
}

// AutoPipeline says whether and how commands are gathered into pipelines. It pays off with many concurrent callers:
// fewer packets, and less work for the server. A single caller gains nothing. The guarantees are the same.
//
// The client keeps one autopipeliner, made with the options of its first user, and closes it with itself.
type AutoPipeline int

const (
	// AutoPipelineOff sends each command by itself, over a connection of the pool.
	AutoPipelineOff AutoPipeline = iota
	// AutoPipelineHalfDuplex sends a pipeline when the one before it has been answered.
	AutoPipelineHalfDuplex
	// AutoPipelineFullDuplex keeps sending while answers come in, over one connection a server. It is for many
	// callers and for networks with a noticeable round-trip time.
	AutoPipelineFullDuplex
)

const (
	defaultPrefix       = "pendingq:"
	maxPrefix           = 64
	defaultPollInterval = 15 * time.Second
	minPollInterval     = 10 * time.Millisecond

	// gatherFor is how long the full-duplex autopipeliner gathers commands before it writes, once more than a hundred are
	// under way; with fewer it never waits. Of 0 to 300 µs it gave the most lifecycles a second with 512 callers.
	gatherFor = 50 * time.Microsecond
)

// check fills in defaults and returns what cannot work.
func (o Options) check() (Options, error) {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.PollInterval == 0 {
		o.PollInterval = defaultPollInterval
	}
	if len(o.Prefix) > maxPrefix {
		return o, fmt.Errorf("goredis: Options.Prefix has %d bytes, want at most %d", len(o.Prefix), maxPrefix)
	}
	if i := strings.IndexFunc(o.Prefix, func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }); i >= 0 {
		return o, fmt.Errorf("goredis: Options.Prefix %q has a character at %d that is no printable ASCII or a brace", o.Prefix, i)
	}
	if o.PollInterval < minPollInterval {
		return o, fmt.Errorf("goredis: Options.PollInterval is %v, want at least %v", o.PollInterval, minPollInterval)
	}
	if o.AutoPipeline < AutoPipelineOff || o.AutoPipeline > AutoPipelineFullDuplex {
		return o, fmt.Errorf("goredis: Options.AutoPipeline is %d, which is none of its constants", o.AutoPipeline)
	}
	return o, nil
}

// Backend is a [backends.Backend] and a [backends.Waker] in Redis. Make one with [New].
type Backend struct {
	client    redis.UniversalClient
	pipeliner *redis.AutoPipeliner // nil unless Options ask for it
	scripts   scripts
	prefix    string
	poll      time.Duration
	wakes     *wakes
}

// New returns a Backend that uses the client, which stays the caller's to close. It sends nothing yet. Opts may
// be nil.
func New(client redis.UniversalClient, opts *Options) (*Backend, error) {
	if client == nil {
		return nil, errors.New("goredis: client is nil")
	}
	if opts == nil {
		opts = &Options{}
	}
	o, err := opts.check()
	if err != nil {
		return nil, err
	}
	b := &Backend{client: client, prefix: o.Prefix, poll: o.PollInterval, wakes: newWakes(client)}
	b.scripts = newScripts(b.prefix, b.wakes.publish)
	if o.AutoPipeline != AutoPipelineOff {
		pipelining := redis.DefaultAutoPipelineOptions()
		if o.AutoPipeline == AutoPipelineFullDuplex {
			pipelining.FullDuplex, pipelining.MaxFlushDelay = true, gatherFor
		}
		if b.pipeliner, err = client.AsyncAutoPipelineWithOptions(pipelining); err != nil {
			return nil, fmt.Errorf("goredis: start the autopipeliner: %w", err)
		}
	}
	return b, nil
}

// Close ends the subscription that wake-ups come through, if there is one, and with it what this Backend runs in
// the background. It leaves the client open. Those who still wait then poll. A Backend on which nobody waits has
// nothing to close.
func (b *Backend) Close() error {
	b.wakes.close()
	return nil
}

// Create implements [backends.Backend].
func (b *Backend) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	partition := backends.PartitionOf(c.ID)
	k := b.keys(partition, c.Store)
	keys := []string{k.record(c.ID), k.queue(c.Mailbox), k.lapsing(c.Mailbox)}
	if c.Exclusive {
		keys = append(keys, k.marker(c.Mailbox))
	}
	terms := spaced(c.PendingTimeout.Microseconds(), millis(c.PendingTimeout+c.Retention),
		millis(c.PendingTimeout+queueSlack), int64(c.MaxPending), millis(c.PendingTimeout))
	v, err := b.decide(ctx, b.scripts.create, c.ID, keys, terms, encodeRest(c))
	if err != nil {
		return backends.Record{}, err
	}
	if v.code == "exists" {
		return v.record(c.ID)
	}
	return newRecord(c, v.now), nil
}

// Get implements [backends.Backend].
func (b *Backend) Get(ctx context.Context, store, id string) (backends.Record, error) {
	return b.get(ctx, id, b.keys(backends.PartitionOf(id), store).record(id))
}

func (b *Backend) get(ctx context.Context, id, key string, args ...any) (backends.Record, error) {
	reply, err := b.run(ctx, b.scripts.get, []string{key}, args...)
	switch {
	case errors.Is(err, redis.Nil):
		return backends.Record{}, backends.ErrNotFound
	case err != nil:
		return backends.Record{}, err
	case reply == int64(1):
		return b.getLarge(ctx, id, key)
	}
	return decodeGet(id, reply)
}

// HasPending implements [backends.Backend].
func (b *Backend) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	k := b.keys(backends.Partition(mailbox), store)
	reply, err := b.run(ctx, b.scripts.pending, []string{k.queue(mailbox), k.lapsing(mailbox)})
	return reply == int64(1), err
}

// Claim implements [backends.Backend].
func (b *Backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	keys, args := b.claimWords(c)
	reply, err := b.run(ctx, b.scripts.claim, keys, args...)
	return claimed(c, reply, err)
}

// claimWords are the keys and arguments of claim.lua.
func (b *Backend) claimWords(c backends.Claim) (keys []string, args []any) {
	partition, stores := backends.Partition(c.Mailbox), len(c.From)
	keys, args = make([]string, 1+2*stores), make([]any, stores)
	keys[0] = b.keys(partition, "").claim(c.ID)
	for i, from := range c.From {
		k := b.keys(partition, from.Store)
		keys[1+i], keys[1+stores+i] = k.queue(c.Mailbox), k.lapsing(c.Mailbox)
		args[i] = encodeFrom(from)
	}
	return keys, args
}

// claimed reads the reply of claim.lua.
func claimed(c backends.Claim, reply any, err error) ([]backends.Claimed, error) {
	if errors.Is(err, redis.Nil) {
		return make([]backends.Claimed, len(c.From)), nil
	}
	if err != nil {
		return nil, err
	}
	return decodeClaimed(reply, c.From)
}

// Extend implements [backends.Backend].
func (b *Backend) Extend(ctx context.Context, e backends.Extend) error {
	k := b.keys(backends.PartitionOf(e.ID), e.Store)
	pending := e.PendingTimeout
	if e.Attempt >= e.MaxAttempts {
		pending = 0
	}
	last := e.RunningTimeout + pending
	keys := []string{k.record(e.ID)}
	if backends.Partition(e.Mailbox) == backends.PartitionOf(e.ID) {
		// The script knows these itself. A Cluster has to, while their slot moves to another node.
		keys = append(keys, k.lapsing(e.Mailbox), k.marker(e.Mailbox))
	}
	terms := attempt(e.Attempt) + " " + spaced(e.RunningTimeout.Microseconds(), pending.Microseconds(),
		millis(last+e.Retention), millis(last+queueSlack), millis(last), flag(e.Exclusive))
	_, err := b.decide(ctx, b.scripts.extend, e.ID, keys, terms)
	return err
}

// End implements [backends.Backend].
func (b *Backend) End(ctx context.Context, e backends.End) (time.Time, error) {
	partition := backends.PartitionOf(e.ID)
	k := b.keys(partition, e.Store)
	speaker := "any "
	if !e.GiveUp {
		speaker = attempt(e.Attempt)
	}
	terms := speaker + spaced(millis(e.Retention))
	var (
		v    verdict
		done bool
		err  error
	)
	if len(e.Payload) > largeAnswer && !e.GiveUp && backends.Partition(e.Mailbox) == partition { // it may be unknown
		v, done, err = b.endStaged(ctx, e, k, terms)
	}
	if !done {
		v, err = b.decide(ctx, b.scripts.end, e.ID, []string{k.record(e.ID)}, terms, appendEnding(nil, e))
	}
	if err != nil {
		return time.Time{}, err
	}
	return v.now, nil
}

// queueSlack is how much longer than its last member a queue lives.
const queueSlack = time.Second

// millis is a time to live that covers d.
func millis(d time.Duration) int64 { return d.Milliseconds() + 1 }

// attempt writes an attempt as scripts take it.
func attempt(n int) string { return string(appendDigits(nil, n, 4)) }

// flag is a bool as scripts take it.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

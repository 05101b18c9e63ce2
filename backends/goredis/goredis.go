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
// All keys of a mailbox share a hash tag, one of 65,536, that is a hash of the mailbox, so a Cluster keeps each
// mailbox on one node and spreads mailboxes over all. Scripts build the keys of single records from the ids that
// they find in a queue. These share the hash tag of the keys that are declared, as Redis, Valkey and their
// clusters want; an engine that insists that every key is declared does not fit.
package goredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
}

// Backend is a [backends.Backend] in Redis. Make one with [New].
type Backend struct {
	client redis.UniversalClient
	prefix string
}

// New returns a Backend that uses the client, which stays the caller's to close. It sends nothing yet. Opts may
// be nil.
func New(client redis.UniversalClient, opts *Options) (*Backend, error) {
	if client == nil {
		return nil, errors.New("goredis: client is nil")
	}
	b := &Backend{client: client, prefix: "pendingq:"}
	if opts != nil && opts.Prefix != "" {
		b.prefix = opts.Prefix
	}
	if len(b.prefix) > 64 {
		return nil, fmt.Errorf("goredis: prefix of %d bytes, want at most 64", len(b.prefix))
	}
	if i := strings.IndexFunc(b.prefix, func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }); i >= 0 {
		return nil, fmt.Errorf("goredis: prefix %q has a character at %d that is no printable ASCII or a brace", b.prefix, i)
	}
	return b, nil
}

// Create implements [backends.Backend].
func (b *Backend) Create(ctx context.Context, c backends.Create) (backends.Record, error) {
	k := b.keys(backends.PartitionOf(c.ID), c.Store)
	keys := []string{k.record(c.ID), k.queue(c.Mailbox), k.marker(c.Mailbox)}
	if c.MaxAttempts > 1 {
		keys = append(keys, k.lapsing(c.Mailbox))
	}
	v, err := b.decide(ctx, createScript, c.ID, keys, c.ID, micros(c.PendingTimeout), micros(c.Retention),
		strconv.Itoa(c.MaxPending), flag(c.Exclusive), encodeRest(c))
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
	k := b.keys(backends.PartitionOf(id), store)
	v, err := b.decide(ctx, getScript, id, []string{k.record(id)})
	if err != nil {
		return backends.Record{}, err
	}
	return v.record(id)
}

// HasPending implements [backends.Backend].
func (b *Backend) HasPending(ctx context.Context, store, mailbox string) (bool, error) {
	k := b.keys(backends.Partition(mailbox), store)
	reply, err := b.run(ctx, pendingScript, []string{k.queue(mailbox), k.lapsing(mailbox)})
	return reply == int64(1), err
}

// Claim implements [backends.Backend].
func (b *Backend) Claim(ctx context.Context, c backends.Claim) ([]backends.Claimed, error) {
	partition := backends.Partition(c.Mailbox)
	keys := []string{b.keys(partition, "").claim(c.ID)}
	args := make([]any, 0, 7*len(c.From))
	for _, from := range c.From {
		k := b.keys(partition, from.Store)
		keys = append(keys, k.queue(c.Mailbox))
		if from.MaxAttempts > 1 {
			keys = append(keys, k.lapsing(c.Mailbox))
		}
		marker := ""
		if from.Exclusive {
			marker = k.marker(c.Mailbox)
		}
		args = append(args, k.record(""), strconv.Itoa(from.Limit), micros(from.RunningTimeout),
			micros(from.PendingTimeout), micros(from.Retention), strconv.Itoa(from.MaxAttempts), marker)
	}
	reply, err := b.run(ctx, claimScript, keys, args...)
	if errors.Is(err, redis.Nil) {
		return make([]backends.Claimed, len(c.From)), nil
	}
	if err != nil {
		return nil, err
	}
	return decodeClaimed(reply, len(c.From))
}

// Extend implements [backends.Backend].
func (b *Backend) Extend(ctx context.Context, e backends.Extend) error {
	k := b.keys(backends.PartitionOf(e.ID), e.Store)
	_, err := b.decide(ctx, extendScript, e.ID, []string{k.record(e.ID)}, e.ID, strconv.Itoa(e.Attempt),
		micros(e.RunningTimeout), micros(e.PendingTimeout), micros(e.Retention), strconv.Itoa(e.MaxAttempts),
		flag(e.Exclusive))
	return err
}

// End implements [backends.Backend].
func (b *Backend) End(ctx context.Context, e backends.End) (time.Time, error) {
	k := b.keys(backends.PartitionOf(e.ID), e.Store)
	v, err := b.decide(ctx, endScript, e.ID, []string{k.record(e.ID)}, e.ID, strconv.Itoa(e.Attempt), flag(e.GiveUp),
		micros(e.Retention), encodeEnding(e.Outcome, e.Error), encodeBody(e.Codec, e.Payload))
	return v.now, err
}

// micros writes a duration as scripts take it.
func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// flag writes a bool as scripts take it.
func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

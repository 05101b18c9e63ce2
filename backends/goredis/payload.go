package goredis

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
)

// Redis makes a Lua string of every argument of a script, and hashes each byte. For a large payload
// this takes ten times as long as storing it. So a large payload has its own key, and its record
// has the random name in the key. If the server refuses to store this key, the payload goes through
// the script after all.
//
// A call first stages the payload: it stores the payload under a new random name, for ten seconds.
// Right after that it runs its script. The script lets the payload live as long as the record. If
// the script refuses the call, it removes the payload. A stored payload never changes, so a caller
// can read it after the record.

const (
	largePayload = 4 << 10          // the most bytes of a payload in a record
	stagedFor    = 10 * time.Second // how long a staged payload lives without its script
	payloadReads = 3                // attempts to read a record whose payload is replaced each time
)

var errPayloadMissing = errors.New("its payload is missing or is no string")

// store runs a script that stores a body. Args returns the script's arguments for a body. Keys are
// the script's keys. The key of a large payload comes after these.
func (b *Backend) store(ctx context.Context, s script, id string, k keys, keys []string,
	in body, args func(body) []any) (verdict, error) {
	if len(in.payload) > largePayload {
		v, err := b.storeLarge(ctx, s, id, k, keys, in, args)
		// If the server has refused a command, the payload goes through the script. The server may
		// lack memory for the payload. Or a Cluster may have moved only some of the keys.
		var answer redis.Error
		if v.code != "unstaged" && !errors.As(err, &answer) {
			return v, err
		}
	}
	return b.decide(ctx, s, id, keys, args(in)...)
}

// storeLarge stages a payload and then runs the script, in one round trip. If the script does not
// run, the payload expires. On a Cluster storeLarge takes two round trips: in go-redis 9.23 two
// goroutines may write the same command when a pipeline is redirected.
func (b *Backend) storeLarge(ctx context.Context, s script, id string, k keys, keys []string,
	in body, args func(body) []any) (verdict, error) {
	if err := ctx.Err(); err != nil {
		return verdict{}, err
	}
	name := rand.Text()
	key, words := k.payload(name), args(body{codec: in.codec, payload: []byte(name), place: 1})
	keys = slices.Concat(keys, []string{key})
	// NX: a repeat of the whole pipeline must not shorten the life of an accepted payload.
	stage := redis.NewStatusCmd(ctx, "set", key, in.payload, "nx", "px", stagedFor.Milliseconds())
	run := command(ctx, s.hashed, keys, words)
	if b.single {
		_ = b.apart(ctx, stage, run) // each command has its error
	} else {
		_ = b.apart(ctx, stage)
	}
	if err := inTime(ctx, stage.Err()); err != nil && !errors.Is(err, redis.Nil) {
		return verdict{}, err // if the server refused SET, the script has changed nothing
	}
	if !b.single {
		return b.decide(ctx, s, id, keys, words...)
	}
	reply, err := run.Result()
	if unknownScript(err) {
		reply, err = b.process(ctx, command(ctx, s.full, keys, words))
	}
	return judge(id, reply, s.explain(err))
}

// whole returns a record with its payload. That may take further round trips.
func (b *Backend) whole(ctx context.Context, store string, s stored) (backends.Record, error) {
	for range payloadReads {
		if s.payload == "" {
			return s.Record, nil
		}
		large := s
		missing, err := b.fetch(ctx, store, &large)
		if err != nil || len(missing) == 0 {
			return large.Record, err
		}
		// The payload may have been replaced since the record was read.
		if s, err = b.read(ctx, store, s.ID); err != nil {
			return backends.Record{}, err
		}
	}
	return backends.Record{}, &backends.CorruptError{ID: s.ID, Err: errPayloadMissing}
}

// fetch reads the large payloads of records of one store, in one round trip. It returns the records
// whose payload is missing.
func (b *Backend) fetch(ctx context.Context, store string, records ...*stored) ([]*stored, error) {
	var large, missing []*stored
	var keys []string
	for _, s := range records {
		if s.payload != "" {
			large = append(large, s)
			keys = append(keys, b.keys(backends.PartitionOf(s.ID), store).payload(s.payload))
		}
	}
	if len(large) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	words := []any{"mget"}
	for _, key := range keys {
		words = append(words, key)
	}
	mget := redis.NewSliceCmd(ctx, words...)
	err := b.apart(ctx, mget)
	if err == nil {
		err = mget.Err() // of a client that gathers commands itself
	}
	if err != nil {
		return nil, err
	}
	for i, s := range large {
		payload := mget.Val()[i]
		if payload == nil { // the client may have read a replica; a script reads the master
			payload, err = b.run(ctx, b.scripts.payload, keys[i:i+1])
			wrongType := redis.HasErrorPrefix(err, "WRONGTYPE") // this must not hinder the others
			if err != nil && !errors.Is(err, redis.Nil) && !wrongType {
				return nil, err
			}
		}
		if text, ok := payload.(string); ok {
			s.Payload, s.payload = []byte(text), ""
		} else {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

// fetchClaimed reads the payloads of a claim's requests of one store. If a payload is missing, it
// reads the request again: if this claim is a repeat, progress may have replaced the payload. If
// the request no longer runs at the same attempt, the claim leaves it out.
func (b *Backend) fetchClaimed(ctx context.Context, store string, c *claimed) error {
	missing, err := b.fetch(ctx, store, c.records...)
	for _, s := range missing {
		now, err := b.Get(ctx, store, s.ID)
		var corrupt *backends.CorruptError
		switch {
		case errors.As(err, &corrupt):
			c.errs = append(c.errs, err)
		case err != nil && !errors.Is(err, backends.ErrNotFound):
			return err
		case err == nil && now.Status == backends.StatusRunning && now.Attempt == s.Attempt:
			*s = stored{Record: now}
		}
	}
	return err
}

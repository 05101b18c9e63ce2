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
// refers to the key. Only if the server refuses the key does the payload go through the script.
//
// A call first stages the payload under a new random name that expires soon. The call's script runs
// right after that. It lets the payload live as long as the record. If it refuses the call, it
// removes the payload. A stored payload never changes, so a caller can read it after the record.

const (
	largePayload = 4 << 10 // the most bytes of a payload in a record
	stagedFor    = 10 * time.Second
	payloadReads = 3 // attempts to read a record whose payload is replaced each time
)

var errPayloadMissing = errors.New("its payload is missing")

// store runs a script that stores a body. Args returns the script's arguments for a body. The key
// of a large payload comes after the other keys.
func (b *Backend) store(ctx context.Context, s script, id string, k keys, keys []string,
	in body, args func(body) []any) (verdict, error) {
	if len(in.payload) > largePayload {
		v, err := b.storeLarge(ctx, s, id, k, keys, in, args)
		// If the server refuses the key, the payload goes through the script. The server may lack
		// memory for the payload, or may be moving the slot and have only some of the keys.
		var answer redis.Error
		if v.code != "unstaged" && !errors.As(err, &answer) {
			return v, err
		}
	}
	return b.decide(ctx, s, id, keys, args(in)...)
}

// storeLarge stages a payload and then runs the script, in one round trip. If the script fails, the
// payload expires. On a Cluster storeLarge takes two round trips: in go-redis 9.23 a redirected
// pipeline may have two goroutines write one command.
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
	_, single := b.client.(*redis.Client)
	if single {
		_ = b.pipeline(ctx, stage, run) // each command has its error
	} else {
		_ = b.client.Process(ctx, stage)
	}
	if err := stage.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return verdict{}, err // the payload is not stored, and the script has noticed that
	}
	if !single {
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
		missing, err := b.fetch(ctx, store, &s)
		if err != nil || len(missing) == 0 {
			return s.Record, err
		}
		// The payload has been replaced since the record was read.
		if s, err = b.read(ctx, store, s.ID); err != nil {
			return backends.Record{}, err
		}
	}
	return backends.Record{}, &backends.CorruptError{ID: s.ID, Err: errPayloadMissing}
}

// fetch reads the payloads of records of one store. It returns the records with missing payloads.
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
	payloads, err := b.client.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	for i, s := range large {
		payload := payloads[i]
		if payload == nil { // the client may have read from a replica that is behind
			payload, err = b.run(ctx, b.scripts.payload, keys[i:i+1])
			if err != nil && !errors.Is(err, redis.Nil) {
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

// fetchClaimed reads the payloads of a claim's requests of one store. If a payload is missing and
// its request still runs, that is an error. Otherwise the request has ended since.
func (b *Backend) fetchClaimed(ctx context.Context, store string, c *claimed) error {
	missing, err := b.fetch(ctx, store, c.records...)
	for _, s := range missing {
		now, err := b.read(ctx, store, s.ID)
		if err != nil && !errors.Is(err, backends.ErrNotFound) {
			return err
		}
		if err == nil && now.Status == backends.StatusRunning && now.Attempt == s.Attempt {
			c.errs = append(c.errs, &backends.CorruptError{ID: s.ID, Err: errPayloadMissing})
		}
	}
	return err
}

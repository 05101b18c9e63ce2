package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// originalRecord is a request as the hand-written stores keep it.
type originalRecord struct {
	ID        string    `json:"id"`
	RuntimeID string    `json:"runtime_id"`
	Status    string    `json:"status"`
	Command   string    `json:"command"`
	Output    string    `json:"output,omitempty"`
	Error     string    `json:"error,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	StartedAt time.Time `json:"run_started_at,omitzero"`
	UserID    string    `json:"user_id"`
}

func newOriginalRecord(mailbox string) originalRecord {
	now := time.Now().UTC()
	return originalRecord{ID: rand.Text(), RuntimeID: mailbox, Status: "pending",
		Command: question.Command, UserID: userID, CreatedAt: now, UpdatedAt: now}
}

const originalRetention = 5 * time.Minute

// original is a hand-written store: a JSON record and a sorted set of the pending ids. Its keys
// share a hash tag.
type original struct {
	client redis.Cmdable
	name   string
	answer string
}

// NewOriginal returns a hand-written store in Redis.
func NewOriginal(client redis.Cmdable) Stack { return original{client, "job", answer} }

func (o original) record(id string) string       { return "{" + o.name + "}:request:" + id }
func (o original) pending(mailbox string) string { return "{" + o.name + "}:pending:" + mailbox }

// popScript takes a request out of the set and stores it as running, unless another node was
// quicker.
var popScript = redis.NewScript(`
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1`)

func (o original) create(ctx context.Context, mailbox string) (originalRecord, error) {
	rec := newOriginalRecord(mailbox)
	encoded, err := json.Marshal(rec)
	if err != nil {
		return rec, err
	}
	_, err = o.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, o.record(rec.ID), encoded, originalRetention)
		created := float64(rec.CreatedAt.UnixNano())
		p.ZAdd(ctx, o.pending(mailbox), redis.Z{Score: created, Member: rec.ID})
		p.Expire(ctx, o.pending(mailbox), originalRetention)
		return nil
	})
	return rec, err
}

func (o original) get(ctx context.Context, id string) (rec originalRecord, err error) {
	encoded, err := o.client.Get(ctx, o.record(id)).Bytes()
	if err != nil {
		return rec, err
	}
	return rec, json.Unmarshal(encoded, &rec)
}

func (o original) pop(ctx context.Context, mailbox string) (rec originalRecord, err error) {
	ids, err := o.client.ZRange(ctx, o.pending(mailbox), 0, 0).Result()
	if err == nil && len(ids) == 0 {
		err = errors.New("nothing is pending")
	}
	if err != nil {
		return rec, err
	}
	rec, err = o.get(ctx, ids[0])
	if err != nil {
		return rec, err
	}
	rec.Status, rec.UpdatedAt = "running", time.Now().UTC()
	rec.StartedAt = rec.UpdatedAt
	encoded, err := json.Marshal(rec)
	if err != nil {
		return rec, err
	}
	keys := []string{o.pending(mailbox), o.record(rec.ID)}
	ttl := originalRetention.Milliseconds()
	return rec, popScript.Run(ctx, o.client, keys, rec.ID, encoded, ttl).Err()
}

func (o original) complete(ctx context.Context, id, output string) error {
	rec, err := o.get(ctx, id)
	if err != nil {
		return err
	}
	rec.Status, rec.Output, rec.UpdatedAt = "completed", output, time.Now().UTC()
	encoded, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return o.client.Set(ctx, o.record(id), encoded, originalRetention).Err()
}

func (o original) Create(ctx context.Context, mailbox string) error {
	_, err := o.create(ctx, mailbox)
	return err
}

func (o original) Lifecycle(ctx context.Context, mailbox string) error {
	if err := o.Create(ctx, mailbox); err != nil {
		return err
	}
	rec, err := o.pop(ctx, mailbox)
	if err != nil {
		return err
	}
	if err := o.complete(ctx, rec.ID, o.answer); err != nil {
		return err
	}
	_, err = o.get(ctx, rec.ID)
	return err
}

// OriginalBeats returns the heartbeats of five hand-written stores: in each, count what is pending,
// then pop.
func OriginalBeats(client redis.UniversalClient) Beats {
	var stores [5]original
	for i := range stores {
		stores[i] = original{client: client, name: fmt.Sprint("job", i)}
	}
	beat := func(ctx context.Context, runtime string) (popped int, err error) {
		for _, store := range stores {
			n, err := client.ZCard(ctx, store.pending(runtime)).Result()
			if err != nil {
				return popped, err
			}
			if n == 0 {
				continue
			}
			if _, err := store.pop(ctx, runtime); err != nil {
				return popped, err
			}
			popped++
		}
		return popped, nil
	}
	return Beats{
		Idle: func(ctx context.Context, runtime string) error {
			_, err := beat(ctx, runtime)
			return err
		},
		Busy: func(ctx context.Context, runtime string) error {
			if err := stores[2].Create(ctx, runtime); err != nil {
				return err
			}
			popped, err := beat(ctx, runtime)
			if err == nil && popped != 1 {
				err = errors.New("the heartbeat brought no ping")
			}
			return err
		},
	}
}

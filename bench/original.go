package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// originalRecord is a request as the hand-written stores kept it.
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
	return originalRecord{ID: rand.Text(), RuntimeID: mailbox, Status: "pending", Command: question.Command, UserID: userID,
		CreatedAt: now, UpdatedAt: now}
}

const originalRetention = 5 * time.Minute

// original is the layout of the hand-written stores: a JSON record and a sorted set of the pending ids, all keys with
// one hash tag.
type original struct {
	client redis.UniversalClient
	answer string
}

// NewOriginal is the layout of the hand-written stores in Redis.
func NewOriginal(client redis.UniversalClient) Stack { return original{client, answer} }

func (original) record(id string) string       { return "{job}:request:" + id }
func (original) pending(mailbox string) string { return "{job}:pending:" + mailbox }

// popScript takes a request out of the set and stores it as running, unless another node was quicker.
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
		p.ZAdd(ctx, o.pending(mailbox), redis.Z{Score: float64(rec.CreatedAt.UnixNano()), Member: rec.ID})
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
	return rec, popScript.Run(ctx, o.client, []string{o.pending(mailbox), o.record(rec.ID)}, rec.ID, encoded,
		originalRetention.Milliseconds()).Err()
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

// Heartbeat is what the hand-written stores did for each heartbeat: count what is pending in each, then pop.
func (o original) Heartbeat(ctx context.Context, mailbox string) error {
	for i := range 5 {
		n, err := o.client.ZCard(ctx, fmt.Sprintf("{job%d}:pending:%s", i, mailbox)).Result()
		if err != nil || n == 0 {
			continue
		}
		if _, err := o.pop(ctx, mailbox); err != nil {
			return err
		}
	}
	return nil
}

// originalMemory is the hand-written stores' embedded variant: one lock, one map, and a scan in every call.
type originalMemory struct {
	mu      sync.Mutex
	records map[string]*originalRecord
}

// NewOriginalMemory is the hand-written stores' variant in memory.
func NewOriginalMemory() Stack { return &originalMemory{records: map[string]*originalRecord{}} }

// expire is the scan: it drops what is old and times out what waited too long.
func (o *originalMemory) expire(now time.Time) {
	for id, rec := range o.records {
		switch age := now.Sub(rec.UpdatedAt); {
		case age > originalRetention:
			delete(o.records, id)
		case rec.Status == "pending" && age > 3*time.Minute, rec.Status == "running" && age > time.Minute:
			rec.Status, rec.Error, rec.UpdatedAt = "timeout", "timed out", now
		}
	}
}

func (o *originalMemory) Create(_ context.Context, mailbox string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(time.Now())
	rec := newOriginalRecord(mailbox)
	o.records[rec.ID] = &rec
	return nil
}

func (o *originalMemory) pop(mailbox string) (id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(time.Now())
	var oldest *originalRecord
	for _, rec := range o.records {
		if rec.RuntimeID == mailbox && rec.Status == "pending" && (oldest == nil || rec.CreatedAt.Before(oldest.CreatedAt)) {
			oldest = rec
		}
	}
	if oldest == nil {
		return ""
	}
	oldest.Status, oldest.UpdatedAt = "running", time.Now()
	return oldest.ID
}

func (o *originalMemory) complete(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(time.Now())
	if rec := o.records[id]; rec != nil {
		rec.Status, rec.Output, rec.UpdatedAt = "completed", answer, time.Now()
	}
}

func (o *originalMemory) get(id string) *originalRecord {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(time.Now())
	return o.records[id]
}

func (o *originalMemory) Lifecycle(ctx context.Context, mailbox string) error {
	_ = o.Create(ctx, mailbox)
	id := o.pop(mailbox)
	o.complete(id)
	if rec := o.get(id); rec == nil || rec.Status != "completed" {
		return errors.New("the request was lost")
	}
	return nil
}

// floor is four plain commands: what no design on this server can beat without batching.
type floor struct{ client redis.UniversalClient }

// NewFloor is four plain commands with values of the sizes that a lifecycle stores.
func NewFloor(client redis.UniversalClient) Stack { return floor{client} }

func (f floor) values() (live, ended []byte) {
	rec := newOriginalRecord("runtime-1")
	live, _ = json.Marshal(rec) // of strings and times
	rec.Output = answer
	ended, _ = json.Marshal(rec)
	return live, ended
}

func (f floor) Create(ctx context.Context, _ string) error {
	live, _ := f.values()
	return f.client.Set(ctx, "floor:"+rand.Text(), live, originalRetention).Err()
}

func (f floor) Lifecycle(ctx context.Context, _ string) error {
	key := "floor:" + rand.Text()
	live, ended := f.values()
	for _, value := range [][]byte{live, ended} {
		if err := f.client.Set(ctx, key, value, originalRetention).Err(); err != nil {
			return err
		}
		if err := f.client.Get(ctx, key).Err(); err != nil {
			return err
		}
	}
	return nil
}

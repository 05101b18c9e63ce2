package bench

import (
	"context"
	"errors"
	"sync"
	"time"
)

// originalMemory is the embedded hand-written store: one lock, one map, and a scan in every call.
type originalMemory struct {
	mu      sync.Mutex
	records map[string]*originalRecord
}

// NewOriginalMemory returns a hand-written store in memory.
func NewOriginalMemory() Stack { return &originalMemory{records: map[string]*originalRecord{}} }

// expire is the scan. It drops old requests, and times out those that waited too long.
func (o *originalMemory) expire(now time.Time) {
	for id, rec := range o.records {
		switch age := now.Sub(rec.UpdatedAt); {
		case age > originalRetention:
			delete(o.records, id)
		case rec.Status == "pending" && age > 3*time.Minute,
			rec.Status == "running" && age > time.Minute:
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
		if rec.RuntimeID == mailbox && rec.Status == "pending" &&
			(oldest == nil || rec.CreatedAt.Before(oldest.CreatedAt)) {
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

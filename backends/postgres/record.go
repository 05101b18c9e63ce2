package postgres

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pendingq/pendingq/backends"
)

// The columns of request q in an answer: all of a record, or all but the payload. scanAnswer reads
// them after code, store and now.
const (
	head   = beforePayload + ", NULL::bytea, " + afterPayload
	record = beforePayload + ", q.payload, " + afterPayload

	beforePayload = "q.id, q.mailbox, q.status, q.attempt, q.error, q.codec"
	afterPayload  = "q.headers, q.created, q.updated, q.started, q.deadline, q.last_deadline, " +
		"q.rank, q.cancelled_as, q.cancel_reason"
)

// answer is one row of an answer.
type answer struct {
	code    string
	store   int // the index of the record's store in a claim
	now     time.Time
	rank    time.Time
	rec     backends.Record // as stored
	headers []byte
}

func scanAnswer(row pgx.CollectableRow) (a answer, err error) {
	var id, status, codec, cancelledAs *string
	var mailbox, reason, cancelReason []byte
	var attempt *int
	var created, updated, started, deadline, last, rank *time.Time
	err = row.Scan(&a.code, &a.store, &a.now, &id, &mailbox, &status, &attempt, &reason, &codec,
		&a.rec.Payload, &a.headers, &created, &updated, &started, &deadline, &last, &rank,
		&cancelledAs, &cancelReason)
	a.now, a.rank = a.now.UTC(), inUTC(rank)
	rec := &a.rec
	rec.ID, rec.Mailbox, rec.Status, rec.Codec = or(id), string(mailbox), or(status), or(codec)
	rec.Attempt, rec.Error = or(attempt), string(reason)
	rec.CreatedAt, rec.UpdatedAt, rec.StartedAt = inUTC(created), inUTC(updated), inUTC(started)
	rec.Deadline, rec.LastDeadline = inUTC(deadline), inUTC(last)
	rec.CancelledAs, rec.CancelReason = or(cancelledAs), string(cancelReason)
	return a, err
}

// or returns the value, or the zero value for NULL.
func or[T any](value *T) (zero T) {
	if value == nil {
		return zero
	}
	return *value
}

func inUTC(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// record returns the record as it reads at the time of the answer: see [backends.Record.At].
func (a answer) record() (backends.Record, error) {
	if a.headers != nil {
		if err := json.Unmarshal(a.headers, &a.rec.Headers); err != nil {
			return backends.Record{}, &backends.CorruptError{ID: a.rec.ID, Err: err}
		}
	}
	return a.rec.At(a.now), nil
}

// newRecord returns the record that Create has stored.
func newRecord(c backends.Create, now time.Time) backends.Record {
	deadline := now.Add(c.PendingTimeout)
	rec := backends.Record{ID: c.ID, Mailbox: c.Mailbox, Status: backends.StatusPending,
		Codec: c.Codec, Payload: slices.Clone(c.Payload), CreatedAt: now, UpdatedAt: now,
		Deadline: deadline, LastDeadline: deadline}
	if len(c.Headers) > 0 {
		rec.Headers = maps.Clone(c.Headers)
	}
	return rec.At(now)
}

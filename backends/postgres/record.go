package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// The columns of request q in an answer, in the order in which scanAnswer reads them after code,
// store and now.
const (
	unknown = "q.mailbox, q.attempt, q.headers, q.created, q.updated, q.started, q.deadline, " +
		"q.last_deadline" // what End cannot know of the record
	head = unknown + ", q.id, q.status, q.error, q.codec, q.rank, q.cancelled_as, " +
		"q.cancel_reason"
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

// scanAnswer reads a row. Rows of plainCreate and plainEnd have fewer columns.
func scanAnswer(row *values) (a answer) {
	a.code, a.store, a.now = row.text(), row.int(), row.time()
	rec := &a.rec
	rec.Mailbox, rec.Attempt, a.headers = row.text(), row.int(), row.bytes()
	rec.CreatedAt, rec.UpdatedAt, rec.StartedAt = row.time(), row.time(), row.time()
	rec.Deadline, rec.LastDeadline = row.time(), row.time()
	rec.ID, rec.Status, rec.Error, rec.Codec = row.text(), row.text(), row.text(), row.text()
	a.rank, rec.CancelledAs, rec.CancelReason = row.time(), row.text(), row.text()
	rec.Payload = row.bytes()
	return a
}

// values are the columns of a row that are still to be read, in PostgreSQL's binary format. A NULL
// and a column that is not there read as zero values. With pgx's Scan, a lifecycle made twice as
// many allocations.
type values struct {
	columns [][]byte
	strange bool // a column had another form than expected
}

var errStrange = errors.New("postgres: an answer has another form; " +
	"is the schema of another version?")

func (v *values) next() (column []byte) {
	if len(v.columns) > 0 {
		column, v.columns = v.columns[0], v.columns[1:]
	}
	return column
}

// fixed returns a column of a fixed size, or nil.
func (v *values) fixed(size int) []byte {
	column := v.next()
	if column == nil || len(column) == size {
		return column
	}
	v.strange = true
	return nil
}

func (v *values) bytes() []byte { return bytes.Clone(v.next()) }

// text also reads a bytea.
func (v *values) text() string { return string(v.next()) }

func (v *values) int() int {
	if column := v.fixed(4); column != nil {
		return int(int32(binary.BigEndian.Uint32(column)))
	}
	return 0
}

// place reads an index of n stores.
func (v *values) place(n int) int {
	place := v.int()
	if place < 0 || place >= n {
		v.strange = true
		return 0
	}
	return place
}

// year2000 is the zero of PostgreSQL's times. They count microseconds.
var year2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (v *values) time() time.Time {
	if column := v.fixed(8); column != nil {
		return time.UnixMicro(year2000 + int64(binary.BigEndian.Uint64(column))).UTC()
	}
	return time.Time{}
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

// orNull returns NULL for a zero time.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

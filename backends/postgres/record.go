package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pendingq/pendingq/backends"
)

// The columns of request q in an answer, in the order in which scanAnswer reads them after code and
// now. Callers of End and Get know the columns that their answers lack, or do not need them.
const (
	forEnd = "q.mailbox, q.attempt, q.headers, q.created, q.updated, q.started, q.deadline, " +
		"q.last_deadline"
	common = forEnd + ", q.status, q.error, q.codec, q.cancelled_as, q.cancel_reason"
	forGet = common + ", q.payload"
	record = forGet + ", q.id, q.store, q.rank"
	head   = common + ", NULL::bytea, q.id, q.store, q.rank"
)

// answer is one row of an answer.
type answer struct {
	code    string
	now     time.Time
	rec     backends.Record // as stored
	headers []byte
	store   string
	rank    time.Time
}

// scanAnswer reads a row. Columns that the row lacks are zero.
func scanAnswer(columns [][]byte) (a answer, err error) {
	row := values{columns: columns}
	a.code, a.now = row.text(), row.time()
	rec := &a.rec
	rec.Mailbox, rec.Attempt, a.headers = row.text(), row.int(), row.bytes()
	rec.CreatedAt, rec.UpdatedAt, rec.StartedAt = row.time(), row.time(), row.time()
	rec.Deadline, rec.LastDeadline = row.time(), row.time()
	rec.Status, rec.Error, rec.Codec = row.text(), row.text(), row.text()
	rec.CancelledAs, rec.CancelReason, rec.Payload = row.text(), row.text(), row.bytes()
	rec.ID, a.store, a.rank = row.text(), row.text(), row.time()
	if row.strange {
		return a, errStrange
	}
	return a, nil
}

// unexpected returns the error for a code that the call never returns.
func (a answer) unexpected() error {
	return fmt.Errorf("postgres: answer %q; is the schema of another version?", a.code)
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
	rec := a.rec.At(a.now)
	if a.headers != nil {
		var headers map[string]string
		if err := json.Unmarshal(a.headers, &headers); err != nil {
			return backends.Record{}, &backends.CorruptError{ID: rec.ID, Err: err}
		}
		rec.Headers = headers
	}
	return rec, nil
}

// orNull returns NULL for a zero time.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

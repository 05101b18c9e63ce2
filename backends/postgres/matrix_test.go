package postgres_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/effort"
)

// loss is a part of a server's reply that never arrives. The server has done its work by then: the
// loss ends with ReadyForQuery, and the connection with it.
type loss struct {
	name  string
	first byte // the type of the first message that is lost
	fresh bool // no connection has prepared the statement
}

var losses = []loss{
	{"the answer", '2', false},                                          // BindComplete
	{"the confirmation, after the rows", 'C', false},                    // CommandComplete
	{"the answer to the preparation, before it is executed", '1', true}, // ParseComplete
}

// cutter loses replies of all connections of a pool.
type cutter struct {
	mu    sync.Mutex
	first byte
	left  int
}

func (c *cutter) set(first byte, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first, c.left = first, n
}

// cuts reports whether a reply is to be lost from a message on.
func (c *cutter) cuts(kind byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 || kind != c.first {
		return false
	}
	c.left--
	return true
}

func (c *cutter) remaining() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// dial is a DialFunc of pgx. The connection must not be encrypted.
func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, cutter: c, in: bufio.NewReader(conn)}, nil
}

// cutConn reads the server's messages one by one.
type cutConn struct {
	net.Conn
	cutter *cutter
	in     *bufio.Reader
	rest   []byte // of a message that has arrived
}

func (c *cutConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		message, err := c.next()
		if err != nil {
			return 0, err
		}
		if c.cutter.cuts(message[0]) {
			return 0, c.lose(message[0])
		}
		c.rest = message
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// next returns a message: a byte for its type, four for the length of what follows the type.
func (c *cutConn) next() ([]byte, error) {
	head, err := c.in.Peek(5)
	if err != nil {
		return nil, err
	}
	message := make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
	_, err = io.ReadFull(c.in, message)
	return message, err
}

// lose waits until the server is done, and hangs up.
func (c *cutConn) lose(kind byte) error {
	for kind != 'Z' {
		message, err := c.next()
		if err != nil {
			return err
		}
		kind = message[0]
	}
	c.Conn.Close()
	return io.ErrUnexpectedEOF
}

// lab is a schema with two clients. Only one of them loses replies.
type lab struct {
	*testing.T
	schema         string
	cutter         *cutter
	cutOff         *pgxpool.Pool
	lossy, b       *postgres.Backend
	answer, stored string // of the scenario without losses
}

func newLab(t *testing.T) *lab {
	s := commonServer(t)
	l := &lab{T: t, cutter: &cutter{}, schema: newSchema(t, commonPool(t))}
	l.cutOff = s.pool(t, func(c *pgxpool.Config) {
		c.ConnConfig.DialFunc = l.cutter.dial
		c.ConnConfig.TLSConfig, c.ConnConfig.Fallbacks = nil, nil
	})
	l.b = open(t, commonPool(t), postgres.Options{Schema: l.schema})
	l.lossy = open(t, l.cutOff, postgres.Options{Schema: l.schema})
	for _, b := range []*postgres.Backend{l.b, l.lossy} { // ends their goroutines; calls still work
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// arrange makes a scenario's situation in empty tables.
func (l *lab) arrange(sc calls.Scenario) *calls.Call {
	l.Helper()
	_, err := commonPool(l.T).Exec(l.Context(), "TRUNCATE "+table(l.schema, "request")+", "+
		table(l.schema, "claim"))
	if err != nil {
		l.Fatal(err)
	}
	return &calls.Call{Op: sc.Arrange(&calls.Stage{T: l.T, B: l.b})}
}

// expect sets answer and stored: it runs a scenario without losses.
func (l *lab) expect(sc calls.Scenario) {
	l.Helper()
	c := l.arrange(sc)
	if c.Perform(l.Context(), l.b); !c.Answered() {
		l.Fatalf("%s, undisturbed: %v", sc.Name, c.Err)
	}
	l.answer, l.stored = c.Shape(), l.storage()
}

// try loses the reply a number of times, and repeats the operation after each loss.
func (l *lab) try(sc calls.Scenario, lost loss, times int) {
	l.Helper()
	c := l.arrange(sc)
	untouched := l.storage()
	if lost.fresh {
		l.cutOff.Reset()
	} else if _, err := l.lossy.Get(l.Context(), "s", backends.NewID("")); err == nil {
		l.Fatal("there is what nobody created")
	}
	l.cutter.set(lost.first, times)
	errors := 0
	for c.Perform(l.Context(), l.lossy); !c.Answered(); c.Perform(l.Context(), l.lossy) {
		if errors++; errors > times {
			l.Fatalf("%s, %s: %v, though nothing was lost", sc.Name, lost.name, c.Err)
		}
		if got := l.storage(); got != untouched && got != l.stored {
			l.Errorf("%s, %s: half an effect:\n%s\nwant\n%s\nor\n%s", sc.Name, lost.name, got,
				untouched, l.stored)
		}
	}
	if left := l.cutter.remaining(); left > 0 || errors != times {
		l.Errorf("%s, %s: %d of %d replies were lost, and there were %d errors", sc.Name, lost.name,
			times-left, times, errors)
	}
	if got := c.Shape(); got != l.answer {
		l.Errorf("%s, %s, %d times: got\n%s\nwant\n%s", sc.Name, lost.name, times, got, l.answer)
	}
	if got := l.storage(); got != l.stored {
		l.Errorf("%s, %s, %d times: stored\n%s\nwant\n%s", sc.Name, lost.name, times, got, l.stored)
	}
}

// storage returns all rows, with durations in place of points in time.
func (l *lab) storage() string {
	l.Helper()
	rows, err := commonPool(l.T).Query(l.Context(), `SELECT format(
		'%s %s %s live %s, %s at attempt %s, error %s, %s payload %s, headers %s, claim %s, %s %s, '
		'lasts %s and %s, rank %s, expires %s, sweep %s, started %s',
		store, id, mailbox, live, status, attempt, error, codec, md5(payload), headers, claim,
		cancelled_as, cancel_reason,
		date_trunc('minute', deadline - updated + '30 s'), last_deadline - deadline,
		date_trunc('minute', rank - deadline + '30 s'),
		date_trunc('minute', expires - updated + '30 s'),
		date_trunc('minute', sweep - created + '30 s'), started IS NOT NULL)
		FROM `+table(l.schema, "request")+` UNION ALL
		SELECT format('claim %s until %s', id, until - made) FROM `+table(l.schema, "claim")+`
		ORDER BY 1`)
	if err != nil {
		l.Fatal(err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			l.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		l.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

var wholeMatrix = flag.Bool("matrix", false, "try all cells of the lost-reply matrix, for minutes")

// The lost-reply matrix tries each operation in each situation, and loses its reply 0 to 4 times.
// The caller gets an error for each loss and repeats the operation. After each loss, the rows
// are as before the operation or as after it. In the end, answer and rows are as in a run without
// losses. Without -matrix, the test tries a random third of the situations, with two losses.
func TestLostReplyMatrix(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	scenarios, cuts := effort.Third(calls.Scenarios), []int{2}
	if *wholeMatrix {
		scenarios, cuts = calls.Scenarios, []int{0, 1, 2, 3, 4}
	}
	cells := 0
	for _, sc := range scenarios {
		l.expect(sc)
		for _, lost := range losses {
			for _, times := range cuts {
				l.try(sc, lost, times)
				cells++
			}
		}
	}
	t.Logf("%d cells", cells)
}

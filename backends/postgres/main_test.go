package postgres_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/postgres"
	"github.com/pendingq/pendingq/internal/effort"
	"github.com/pendingq/pendingq/internal/postgrestest"
)

// TestMain stops the server that tests share, and then looks for goroutines that are left.
func TestMain(m *testing.M) {
	effort.Parallel(4)
	goleak.VerifyTestMain(shared{m})
}

type shared struct{ m *testing.M }

func (s shared) Run() int {
	code := s.m.Run()
	common.stop()
	return code
}

// common is the server of all tests that neither stop nor configure it. Each test has a schema of
// its own.
var common struct {
	sync.Mutex
	server  *server
	open    *pgxpool.Pool
	stop    func()
	schemas atomic.Int64
}

func init() { common.stop = func() {} }

func commonServer(t testing.TB) *server {
	t.Helper()
	common.Lock()
	defer common.Unlock()
	if common.server == nil {
		s, err := postgrestest.New()
		postgrestest.Need(t, err)
		pool, err := openPool(s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		common.server, common.open = &server{s}, pool
		common.stop = func() {
			pool.Close()
			s.Remove()
		}
	}
	return common.server
}

func commonPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	commonServer(t)
	return common.open
}

// newSchema makes a new schema, and returns its name. It has characters that need quotes.
func newSchema(t testing.TB, pool *pgxpool.Pool) string {
	t.Helper()
	name := fmt.Sprintf(`it's "%d"; --`, common.schemas.Add(1))
	err := postgres.Migrate(t.Context(), pool, &postgres.MigrateOptions{Schema: name})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// table returns the quoted name of a table in a schema.
func table(schema, name string) string {
	return `"` + strings.ReplaceAll(schema, `"`, `""`) + `".` + name
}

// open returns a backend in a schema, closed with the test.
func open(t testing.TB, pool *pgxpool.Pool, opts postgres.Options) *postgres.Backend {
	t.Helper()
	b, err := postgres.New(pool, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// openNew returns a backend in a new schema of the common server.
func openNew(t testing.TB) *postgres.Backend {
	t.Helper()
	pool := commonPool(t)
	return open(t, pool, postgres.Options{Schema: newSchema(t, pool)})
}

const box = "runtime-1"

// lasting are terms that leave everything time to happen.
func lasting(store string) backends.Terms {
	return backends.Terms{Store: store, PendingTimeout: time.Hour, RunningTimeout: time.Hour,
		Retention: time.Hour, MaxAttempts: 1}
}

func question(t backends.Terms, mailbox string) backends.Create {
	return backends.Create{Terms: t, ID: backends.NewID(mailbox), Mailbox: mailbox, Codec: "raw",
		Payload: []byte("question")}
}

func poll(mailbox string, stores ...backends.Terms) backends.Claim {
	c := backends.Claim{ID: backends.NewID(mailbox), Mailbox: mailbox}
	for _, t := range stores {
		c.From = append(c.From, backends.From{Terms: t, Limit: 1})
	}
	return c
}

func report(t backends.Terms, id string, attempt int) backends.End {
	return backends.End{Terms: t, ID: id, Outcome: backends.StatusCompleted, Attempt: attempt,
		Codec: "raw", Payload: []byte("answer")}
}

package matrix_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
)

// The matrix over HTTP: each operation goes through a remote.Client, and its answers are lost.

// storage is a backend below the API node.
type storage struct {
	backends.Backend
	shape func(*testing.T) string // the content of the backend
}

// inMemory returns a storage in memory. Its shape has each request that a scenario can make, and
// the number of live requests of each store.
func inMemory() storage {
	b := memory.New()
	return storage{b, func(t *testing.T) string {
		t.Helper()
		var text strings.Builder
		for _, store := range calls.Stores {
			for _, key := range []string{"1", "2", "3"} {
				c := &calls.Call{Op: store.Get(store.Question(key).ID)}
				c.Perform(t.Context(), b)
				fmt.Fprintln(&text, store.Store, key, c.Shape())
			}
			page, err := b.List(t.Context(), store.Store, calls.Box, "", 100)
			has, hasErr := b.HasPending(t.Context(), store.Store, calls.Box)
			if err != nil || hasErr != nil {
				t.Error(err, hasErr)
			}
			fmt.Fprintln(&text, len(page.Records), "live, has pending:", has)
		}
		return text.String()
	}}
}

func inRedis(t *testing.T, client redis.UniversalClient) storage {
	t.Helper()
	prefix := backends.NewID("") + ":"
	b, err := goredis.New(client, &goredis.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return storage{b, func(t *testing.T) string {
		t.Helper()
		return storageShape(t, client, b, prefix)
	}}
}

// answers is a handler that loses answers: it lets the API node act, and then hangs up.
type answers struct {
	http.Handler
	half bool // the first half of each answer arrives

	mu   sync.Mutex
	left int // how many answers are still to lose; -n after n answers have arrived
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.loses() {
		a.Handler.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	a.Handler.ServeHTTP(answer, r)
	if a.half {
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
	}
	panic(http.ErrAbortHandler)
}

func (a *answers) loses() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left--
	return a.left >= 0
}

// node serves the storage of many cells, each below a path of its own.
type node struct {
	mux    http.ServeMux
	server *httptest.Server
	cells  int
}

func newNode(t *testing.T) *node {
	n := &node{}
	n.server = httptest.NewServer(&n.mux)
	t.Cleanup(n.server.Close)
	return n
}

// loss is how many answers are lost, and whether the first half of each arrives.
type loss struct {
	cuts int
	half bool
}

// losses returns the losses to try. The first is without a loss. The flag -matrix adds more.
func losses() []loss {
	if *matrixFile == "" {
		return []loss{{}, {cuts: 1}, {cuts: maxCuts, half: true}}
	}
	all := []loss{{}}
	for cuts := 1; cuts <= maxCuts; cuts++ {
		all = append(all, loss{cuts, false}, loss{cuts, true})
	}
	return all
}

// httpCell is a scenario with a loss.
type httpCell struct {
	name string
	storage
	answers *answers
	client  *remote.Client
	call    *calls.Call
}

func (n *node) newCell(t *testing.T, sc calls.Scenario, on storage, l loss) *httpCell {
	t.Helper()
	c := &httpCell{name: fmt.Sprintf("%s, %+v", sc.Name, l), storage: on,
		call: &calls.Call{Op: sc.Arrange(&calls.Stage{T: t, B: on})}}
	quiet := slog.New(slog.DiscardHandler)
	config := remote.Config{Stores: policies(), Access: everyone{}, Logger: quiet}
	server, err := remote.Handler(on, config)
	if err != nil {
		t.Fatal(err)
	}
	c.answers = &answers{Handler: server, half: l.half, left: l.cuts}
	path := fmt.Sprintf("/%d", n.cells)
	n.cells++
	n.mux.Handle(path+"/", http.StripPrefix(path, c.answers))
	c.client, err = remote.New(n.server.URL+path, &remote.Options{Token: "t", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// policies returns the policies of the scenarios' stores.
func policies() (all []pending.Policy) {
	for _, s := range calls.Stores {
		all = append(all, pending.Policy{Name: s.Store, PendingTimeout: s.PendingTimeout,
			RunningTimeout: s.RunningTimeout, Retention: s.Retention, MaxAttempts: s.MaxAttempts,
			Exclusive: s.Exclusive, MaxPending: s.MaxPending, CancelGrace: time.Hour,
			MaxPayload: 1 << 20})
	}
	return all
}

// everyone may do everything.
type everyone struct{}

func (everyone) Caller(*http.Request) (string, error) { return "everyone", nil }

func (everyone) Allow(*http.Request, string, remote.Action, string, string) (bool, error) {
	return true, nil
}

// outcome returns the answer of a cell and the content of its storage.
func (c *httpCell) outcome(t *testing.T) string {
	t.Helper()
	if arrived := -c.answers.left; arrived != 1 {
		t.Errorf("%s: %d answers arrived, want 1; error %v", c.name, arrived, c.call.Err)
	}
	return c.call.Shape() + "\n" + c.shape(t)
}

func TestLostReplyMatrixOverHTTP(t *testing.T) {
	client := redistest.Client(t)
	for name, store := range map[string]func(*testing.T) storage{
		"memory": func(*testing.T) storage { return inMemory() },
		"redis":  func(t *testing.T) storage { return inRedis(t, client) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			for i := 0; i < len(calls.Scenarios); i += scenariosAtATime {
				n.try(t, calls.Scenarios[i:min(i+scenariosAtATime, len(calls.Scenarios))], store)
			}
			t.Logf("%d cells", n.cells)
		})
	}
}

// scenariosAtATime is how many scenarios overlap. A client pauses before it repeats a call.
const scenariosAtATime = 12

// try runs all cells of scenarios at once, and compares each with the cell without losses.
func (n *node) try(t *testing.T, scenarios []calls.Scenario, store func(*testing.T) storage) {
	t.Helper()
	var cells []*httpCell
	for _, sc := range scenarios {
		for _, l := range losses() {
			cells = append(cells, n.newCell(t, sc, store(t), l))
		}
	}
	performAll(t.Context(), cells)
	want := ""
	for i, c := range cells {
		got := c.outcome(t)
		if i%len(losses()) == 0 {
			want = got
		}
		if got != want {
			t.Errorf("%s: got\n%.2000s\nwant\n%.2000s", c.name, got, want)
		}
	}
}

func performAll(ctx context.Context, cells []*httpCell) {
	var performing sync.WaitGroup
	for _, c := range cells {
		performing.Go(func() {
			defer c.client.Close()
			c.call.Perform(ctx, c.client)
		})
	}
	performing.Wait()
}

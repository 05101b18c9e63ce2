package http_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/internal/history"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/proof/cutproxy"
	"github.com/pendingq/pendingq/skills"
)

// HTTP end to end: front ends and real daemons call API nodes through connections that are cut,
// while nodes and daemons are killed. The ledger checks the answers that callers got. A history
// checks the nodes' calls to their storage.

var (
	operations = flag.Int("ops", 25_000,
		"`number` of operations; one in 50 is a new request in memory, one in 250 on Redis")
	faults = flag.Int("faults", 60, "`number` of faults between the nodes and Redis")
	seed   = flag.Uint64("seed", 0,
		"`seed` of the random decisions of front ends, daemons and cuts; 0: from the clock")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is the whole system under test.
type service struct {
	*testing.T
	faults  *history.Faults
	proxy   *cutproxy.Proxy // nil in memory
	scale   time.Duration   // divides the policies' times and all pauses
	connect func() (b backends.Backend, hangUp func())
	listen  func() (listening, error)

	nodes   [3]atomic.Pointer[node]
	network *network
	serving sync.WaitGroup
	library *library
	journal *journal
	ledger  *ledger

	toAsk         atomic.Int64
	asked         atomic.Int64
	worked        atomic.Int64
	stalled       atomic.Int64
	saves         atomic.Int64
	slowSaves     atomic.Int64
	killedNodes   atomic.Int64
	killedDaemons atomic.Int64
	leftBehind    int // skills of timed-out imports that no node could take back
}

// TestHTTP lets front ends make requests of all stores, and checks the results. On fake time the
// stores have their usual policies. On a real Redis their times are shorter.
func TestHTTP(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := memory.New()
			s := &service{T: t, faults: &history.Faults{}, scale: 1, listen: onPipes,
				connect: func() (backends.Backend, func()) { return b, func() {} }}
			s.serve(*operations / 50)
		})
	})
	t.Run("redis", func(t *testing.T) {
		server := redistest.Start(t)
		proxy := cutproxy.New()
		t.Cleanup(proxy.Close)
		s := &service{T: t, scale: 60, listen: onLoopback, proxy: proxy}
		control := server.Client(t)
		s.faults = &history.Faults{Every: max(1, int64(*operations/(*faults+1)/20)),
			Inject: func(turn int) { proxy.Disturb(turn, control) }}
		s.connect = func() (backends.Backend, func()) { return s.onRedis(server.Addr) }
		s.serve(*operations / 250)
	})
}

// onRedis connects a node to a server, through the proxy that loses replies.
func (s *service) onRedis(addr string) (backends.Backend, func()) {
	client := redis.NewClient(&redis.Options{Addr: addr, Dialer: s.proxy.Dial,
		ContextTimeoutEnabled: true,
		MinRetryBackoff:       time.Millisecond, MaxRetryBackoff: 4 * time.Millisecond})
	b, err := goredis.New(client, &goredis.Options{PollInterval: s.scaled(15 * time.Second)})
	if err != nil {
		s.Fatal(err)
	}
	return b, func() {
		_ = b.Close()
		_ = client.Close()
	}
}

func (s *service) scaled(d time.Duration) time.Duration { return d / s.scale }

// paced makes timeouts so short that they expire during the test. It keeps ended requests until the
// test ends.
func (s *service) paced(t backends.Terms) backends.Terms {
	t.PendingTimeout, t.RunningTimeout, t.Retention = s.scaled(t.PendingTimeout),
		s.scaled(t.RunningTimeout), 24*time.Hour
	return t
}

// route is one of the five stores, and its HTTP routes.
type route struct {
	path   string
	policy pending.Policy
	// body is the format of a create's body, or "". Its arguments are the number of the create, a
	// number that 15 creates share, and a bool.
	body string
}

var (
	imports = &route{"/local-skills/import", skills.ImportPolicy(),
		`{"skill_key":"k%[1]d","name":"skill %[2]d","supports_conflict":%[3]v}`}
	routes = []*route{
		imports,
		{"/local-skills", skills.ListPolicy(), ""},
		{"/ping", skills.PingPolicy(), ""},
		{"/models", skills.ModelListPolicy(), ""},
		{"/update", skills.UpdatePolicy(), `{"target_version":"v%[1]d"}`},
	}
)

func (r *route) question(n int64) string {
	if r.body == "" {
		return ""
	}
	return fmt.Sprintf(r.body, n, n/15, n%2 == 0)
}

func routeOf(path string) *route {
	for _, r := range routes {
		if r.path == path {
			return r
		}
	}
	panic("there is no route " + path)
}

// serve runs the service until all requests have been made and have ended, and checks them.
func (s *service) serve(requests int) {
	s.toAsk.Store(int64(requests))
	s.library, s.journal, s.ledger = newLibrary(), newJournal(), newLedger(s)
	s.network = newNetwork(func(ctx context.Context, number int) (net.Conn, error) {
		return s.nodes[number].Load().at.dial(ctx)
	})
	for number := range s.nodes {
		if err := s.startNode(number); err != nil {
			s.Fatal(err)
		}
	}
	start := time.Now()
	s.work()
	if !s.Failed() {
		s.ledger.check(s)
		s.journal.check(s)
	}
	s.tell(time.Since(start))
}

// work starts runtimes and front ends, and stops the runtimes when everything has ended.
func (s *service) work() {
	ctx, stop := context.WithCancel(s.Context())
	defer stop()
	var laptops, frontEnds sync.WaitGroup
	for i := range 4 {
		l := &laptop{service: s, id: fmt.Sprintf("laptop-%d", i), caller: s.newCaller(i), slots: 16,
			wait: s.scaled(20 * time.Second)}
		if i == 1 {
			l.slots = 3 // too few for a batch of imports
		}
		if i == 2 {
			l.wait = -1
		}
		laptops.Go(func() { l.run(ctx) })
		for j := range 5 {
			f := &frontEnd{service: s, runtime: l.id, caller: s.newCaller(100*(i+1) + j)}
			frontEnds.Go(f.run)
		}
	}
	frontEnds.Wait()
	s.network.calm.Store(true)
	s.settle()
	stop()
	laptops.Wait()
	s.settle() // once more: daemons may have reported while they stopped
	s.stopNodes()
}

func (s *service) newCaller(actor int) *caller {
	return &caller{network: s.network, dice: newDice(*seed, uint64(actor)), nodes: len(s.nodes)}
}

// settle reads each request that a node was asked to store until it has ended. That includes
// requests whose create got no answer.
func (s *service) settle() {
	for _, op := range s.journal.all() {
		f := &frontEnd{service: s, runtime: op.Mailbox, caller: s.newCaller(0)}
		f.follow(routeOfStore(op.Store), op.ID)
		if s.Failed() {
			return
		}
	}
}

func routeOfStore(name string) *route {
	return routes[slices.IndexFunc(routes, func(r *route) bool { return r.policy.Name == name })]
}

func (s *service) stopNodes() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for number := range s.nodes {
		if err := s.nodes[number].Load().stop(ctx); err != nil {
			s.Errorf("stop node %d: %v", number, err)
		}
	}
	s.serving.Wait()
}

// more reports whether front ends should make another request, because there are too few requests
// or a fault has not happened yet.
func (s *service) more() bool {
	left := s.toAsk.Add(-1)
	return !s.Failed() && (left >= 0 || left > -1000 && s.lacks() != "")
}

// lacks returns a fault that has not happened yet, or "".
func (s *service) lacks() string {
	for _, what := range []string{"create", "read", "heartbeat", "report"} {
		for _, way := range []string{there, back} {
			if s.network.cutsOf(what+way) == 0 {
				return what + way
			}
		}
	}
	for what, n := range map[string]*atomic.Int64{
		"a node killed":              &s.killedNodes,
		"a daemon killed":            &s.killedDaemons,
		"a handler that stalls":      &s.stalled,
		"a save that takes too long": &s.slowSaves,
	} {
		if n.Load() == 0 {
			return what
		}
	}
	if s.proxy != nil && s.proxy.Cuts() == 0 {
		return "a lost reply of Redis"
	}
	return ""
}

// tell logs the events of the run, and fails if faults are missing or too few requests were
// completed: a third on fake time, and one on real time, where a slow machine makes others time out.
func (s *service) tell(took time.Duration) {
	s.Logf("%d creates sent, %d requests stored: %v; %d calls of handlers, %d stalled; "+
		"%d nodes and %d daemons killed; %v; %d skills left behind; %d calls to storage; in %v",
		s.asked.Load(), len(s.ledger.errands), s.ledger.outcomes, s.worked.Load(),
		s.stalled.Load(), s.killedNodes.Load(), s.killedDaemons.Load(), s.network.cuts,
		s.leftBehind, s.faults.Calls(), took.Round(10*time.Millisecond))
	if lacking := s.lacks(); lacking != "" {
		s.Errorf("this run shows too little: it has no %s", lacking)
	}
	least := len(s.ledger.errands) / 3
	if s.proxy != nil {
		least = 1
	}
	if done := s.ledger.outcomes[backends.StatusCompleted]; done < least {
		s.Errorf("%d requests were completed, want at least %d", done, least)
	}
}

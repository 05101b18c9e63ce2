package histories_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/history"
	"github.com/pendingq/pendingq/internal/redistest"
)

// Here the masters of a Cluster fail over while histories are made. Redis replicates
// asynchronously. So a killed master loses the writes that its replica has not received. They are
// its last ones.

// failOverKind is a way to make a fail-over.
type failOverKind struct {
	name     string
	graceful bool // the master hands over: no write and no reply may be lost
	cutOff   bool // the replica is frozen for some time before its master is killed
	// elected: the test waits until the other nodes notice that the master is dead, which takes
	// seconds, and elect the replica. Otherwise the test tells the replica to take over.
	elected bool
}

// failOverKinds are used in turn. The first is the quickest.
var failOverKinds = []failOverKind{
	{name: "graceful", graceful: true},
	{name: "killed, replica cut off, forced", cutOff: true},
	{name: "killed, elected", elected: true},
	{name: "killed, replica cut off, elected", cutOff: true, elected: true},
	{name: "killed, forced"},
}

// shards are the three shards of a Cluster. A master and its replica change places.
type shards struct {
	t       testing.TB
	cluster *redistest.Cluster
	clients map[*redistest.Server]*redis.Client
	masters [3]*redistest.Server
	standby [3]*redistest.Server
	faults  *history.Faults
	every   int64 // how many calls lie between two fail-overs; 0: no fail-overs

	one     sync.Mutex                      // one fail-over at a time
	elected map[*redistest.Server]time.Time // when each server last became a master
	outage  sync.RWMutex                    // locked while a shard has no master

	mu    sync.Mutex
	past  []history.FailOver
	count map[string]int // fail-overs by the name of their kind
}

func newShards(t *testing.T, cluster *redistest.Cluster) *shards {
	s := &shards{
		t:       t,
		cluster: cluster,
		clients: map[*redistest.Server]*redis.Client{},
		masters: [3]*redistest.Server(cluster.Masters),
		standby: [3]*redistest.Server(cluster.Replicas),
		elected: map[*redistest.Server]time.Time{},
		count:   map[string]int{},
	}
	for _, node := range cluster.Nodes() {
		s.clients[node] = node.Client(t)
	}
	return s
}

func (s *shards) control() []*redis.Client { return slices.Collect(maps.Values(s.clients)) }

// shardOf returns the shard of a mailbox. It asks one node after another, since one may be dead.
func (s *shards) shardOf(ctx context.Context, mailbox string) (shard int, err error) {
	for _, client := range s.clients {
		var slot int64
		if slot, err = client.ClusterKeySlot(ctx,
			"{"+backends.Partition(mailbox)+"}").Result(); err == nil {
			return (int(slot)*3 + 2) / redistest.Slots, nil
		}
	}
	return 0, err
}

// Count makes a fail-over if it is time for one.
func (s *shards) Count(done int64, mailbox string) {
	if s.every > 0 && done%s.every == 0 {
		s.failOver(done/s.every, mailbox)
	}
}

// failOver makes the next fail-over, in the shard of a mailbox.
func (s *shards) failOver(turn int64, mailbox string) {
	s.one.Lock()
	defer s.one.Unlock()
	kind := failOverKinds[(turn-1)%int64(len(failOverKinds))]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.replace(ctx, mailbox, kind); err != nil {
		s.t.Errorf("fail-over, %s: %v", kind.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[kind.name]++
}

// replace makes a replica the master, and its master the replica.
func (s *shards) replace(ctx context.Context, mailbox string, kind failOverKind) error {
	shard, err := s.shardOf(ctx, mailbox)
	if err != nil {
		return err
	}
	s.awaitVotesExpire(ctx, s.standby[shard])
	nodes := s.cluster.Nodes() // elections depend on their timeout
	if err := redistest.SetNodeTimeout(ctx, redistest.NodeTimeout, nodes...); err != nil {
		return err
	}
	if kind.graceful {
		err = s.handOver(ctx, shard)
	} else {
		err = s.kill(ctx, shard, kind)
	}
	if err != nil {
		return err
	}
	s.masters[shard], s.standby[shard] = s.standby[shard], s.masters[shard]
	// A node that seems dead to others by then would seem so for twice the new timeout.
	if err := s.cluster.AwaitHealthy(ctx, len(s.clients)); err != nil {
		return err
	}
	return redistest.SetNodeTimeout(ctx, redistest.PatientTimeout, nodes...)
}

// handOver has a master make its replica the master and follow it.
func (s *shards) handOver(ctx context.Context, shard int) error {
	if err := s.clients[s.standby[shard]].ClusterFailover(ctx).Err(); err != nil {
		return err
	}
	if err := s.awaitRole(ctx, s.standby[shard], "master"); err != nil {
		return err
	}
	if err := s.noteElected(ctx, s.standby[shard]); err != nil {
		return err
	}
	return s.awaitRole(ctx, s.masters[shard], "slave")
}

// kill ends a master's process and starts it again once its replica has taken over.
func (s *shards) kill(ctx context.Context, shard int, kind failOverKind) error {
	master, replica := s.masters[shard], s.standby[shard]
	safe, err := s.awaitInTouch(ctx, shard)
	if err != nil {
		return err
	}
	if kind.cutOff {
		replica.Stop()
		if err := s.clients[master].Do(ctx, "client", "kill", "type", "replica").Err(); err != nil {
			return err
		}
		enough := s.faults.Calls() + 300 // if the sessions end, fewer calls follow
		enoughCalls := func() bool { return s.faults.Calls() >= enough }
		calls.Await(time.Second, time.Millisecond, enoughCalls)
	}
	f := history.FailOver{Kind: kind.name, Shard: shard, Safe: safe}
	if err := s.takeOver(ctx, f, kind); err != nil {
		return err
	}
	master.Restart()
	return nil
}

// takeOver kills a master and waits until its replica is the master.
func (s *shards) takeOver(ctx context.Context, f history.FailOver, kind failOverKind) error {
	master, replica := s.masters[f.Shard], s.standby[f.Shard]
	s.outage.Lock()
	defer s.outage.Unlock()
	defer s.faults.Begin()()
	master.Kill()
	f.Dead = calls.Now()
	if kind.cutOff {
		replica.Continue()
	}
	if !kind.elected {
		if err := s.clients[replica].Do(ctx, "cluster", "failover", "force").Err(); err != nil {
			return err
		}
	}
	if err := s.awaitRole(ctx, replica, "master"); err != nil {
		return err
	}
	f.Over = calls.Now()
	s.mu.Lock()
	s.past = append(s.past, f)
	s.mu.Unlock()
	return s.noteElected(ctx, replica)
}

// awaitInTouch waits until a replica has received all writes before now, and returns that time.
func (s *shards) awaitInTouch(ctx context.Context, shard int) (at int64, err error) {
	at = calls.Now()
	want, err := s.offset(ctx, s.masters[shard], "master_repl_offset:")
	if err != nil {
		return 0, err
	}
	var got int64
	if !calls.Await(10*time.Second, time.Millisecond, func() bool {
		got, err = s.offset(ctx, s.standby[shard], "slave_repl_offset:")
		return err == nil && got >= want
	}) {
		return 0, fmt.Errorf("the replica is at offset %d (%v), want at least %d", got, err, want)
	}
	return at, nil
}

func (s *shards) offset(
	ctx context.Context, server *redistest.Server, name string) (offset int64, err error) {
	info, err := s.clients[server].Info(ctx, "replication").Result()
	if err != nil {
		return 0, err
	}
	return number(info, name)
}

// number returns the number after a name in the reply to INFO or CLUSTER INFO.
func number(info, name string) (n int64, err error) {
	_, after, _ := strings.Cut(info, name)
	_, err = fmt.Sscan(after, &n)
	return n, err
}

// awaitVotesExpire waits until a replica needs a new election to take over. A node of Redis 7.0.15
// keeps the votes that made it the master. If it becomes a replica and takes over again before the
// votes expire, it uses these votes and their old epoch. Then the old master has the newer epoch.
// Once the old master is back, the new master follows it and discards its own data. A test cannot
// check this loss, since it has no bound. docs/redis.md tells operators to wait like this.
func (s *shards) awaitVotesExpire(ctx context.Context, replica *redistest.Server) {
	expire := s.elected[replica].Add(max(2*redistest.NodeTimeout, 2*time.Second))
	select {
	case <-time.After(time.Until(expire)):
	case <-ctx.Done():
	}
}

// noteElected notes when a server has become the master. It checks that the server's epoch is the
// newest one of the Cluster.
func (s *shards) noteElected(ctx context.Context, server *redistest.Server) error {
	s.elected[server] = time.Now()
	info, err := s.clients[server].ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	own, err := number(info, "cluster_my_epoch:")
	if err != nil {
		return err
	}
	newest, err := number(info, "cluster_current_epoch:")
	if err == nil && own != newest {
		err = fmt.Errorf("%s became the master in epoch %d, when the Cluster was in epoch %d",
			server.Addr, own, newest)
	}
	return err
}

func (s *shards) awaitRole(ctx context.Context, server *redistest.Server, role string) (err error) {
	var info string
	if !calls.Await(30*time.Second, time.Millisecond, func() bool {
		info, err = s.clients[server].Info(ctx, "replication").Result()
		return strings.Contains(info, "role:"+role)
	}) {
		return fmt.Errorf("%s did not become a %s: %v\n%s", server.Addr, role, err, info)
	}
	return nil
}

// AwaitCalm waits while a shard has no master.
func (s *shards) AwaitCalm() {
	s.outage.RLock()
	defer s.outage.RUnlock()
}

// Of returns the fail-overs of a mailbox's shard between two times.
func (s *shards) Of(mailbox string, began, ended int64) ([]history.FailOver, error) {
	shard, err := s.shardOf(s.t.Context(), mailbox)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.past), func(f history.FailOver) bool {
		return f.Shard != shard || f.Over < began || f.Dead > ended
	}), err
}

// report returns the number of fail-overs of each kind, and their losses.
func (s *shards) report(l history.Losses) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	for _, kind := range failOverKinds {
		fmt.Fprintf(&text, "\n%d fail-overs, %s: %v", s.count[kind.name], kind.name, l[kind.name])
	}
	return text.String()
}

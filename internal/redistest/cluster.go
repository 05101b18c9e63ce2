package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/freeport"
)

// Slots is how many hash slots a Cluster has.
const Slots = 16384

// NodeTimeout is how long a node may be silent before the other nodes consider it dead.
const NodeTimeout = time.Second

// Cluster has three masters, each with a replica. After a fail-over other servers are masters.
type Cluster struct {
	Masters  []*Server // the masters at the start; each has a third of the slots, in this order
	Replicas []*Server // Replicas[i] follows Masters[i] at the start
}

// StartCluster starts a Cluster that persists nothing and fails over within about two seconds. It
// ends with the test. Config is appended to the command line of each node. Without a redis-server
// on PATH it skips the test, or fails it: see [RequireEnv].
func StartCluster(t testing.TB, config ...string) *Cluster {
	t.Helper()
	path := executable(t)
	for attempt := 1; ; attempt++ {
		c, err := startCluster(t, path, config)
		if err == nil {
			return c
		}
		for _, s := range c.Nodes() {
			s.end()
		}
		if attempt == attempts {
			t.Fatalf("starting a cluster: %v", err)
		}
	}
}

// PatientTimeout is a NodeTimeout with which no node seems dead, however slow the machine is.
const PatientTimeout = time.Minute

// StartPatientCluster starts a Cluster that does not fail over by itself.
func StartPatientCluster(t testing.TB, config ...string) *Cluster {
	t.Helper()
	c := StartCluster(t, config...)
	if err := SetNodeTimeout(t.Context(), PatientTimeout, c.Nodes()...); err != nil {
		t.Fatal(err)
	}
	return c
}

// SetNodeTimeout replaces the NodeTimeout of nodes that run. A node that starts again has
// NodeTimeout.
func SetNodeTimeout(ctx context.Context, timeout time.Duration, nodes ...*Server) error {
	for _, s := range nodes {
		client := s.plainClient()
		err := poll(ctx, func() error { // a fault may cut the connection
			return client.ConfigSet(ctx, "cluster-node-timeout",
				fmt.Sprint(timeout.Milliseconds())).Err()
		})
		client.Close()
		if err != nil {
			return fmt.Errorf("set the node timeout of %s: %w", s.Addr, err)
		}
	}
	return nil
}

func startCluster(t testing.TB, path string, config []string) (*Cluster, error) {
	c := &Cluster{}
	ports, err := freeport.Find(6)
	if err != nil {
		return c, err
	}
	for i, port := range ports {
		dir := t.TempDir()
		args := append(settings(dir, port),
			"--cluster-enabled", "yes",
			"--cluster-node-timeout", fmt.Sprint(NodeTimeout.Milliseconds()),
			"--cluster-allow-replica-migration", "no",
			"--cluster-replica-validity-factor", "0",
			"--repl-diskless-sync-delay", "0")
		s, err := startProcess(t, dir, port, path, append(args, config...)...)
		if err != nil {
			return c, err
		}
		if i < 3 {
			c.Masters = append(c.Masters, s)
		} else {
			c.Replicas = append(c.Replicas, s)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	return c, c.form(ctx)
}

// Nodes returns all servers: first Masters, then Replicas.
func (c *Cluster) Nodes() []*Server {
	return append(append([]*Server(nil), c.Masters...), c.Replicas...)
}

// form joins the nodes to a Cluster.
func (c *Cluster) form(ctx context.Context) error {
	for i, s := range c.Nodes() {
		if err := s.introduce(ctx, c.Masters[0], i+1); err != nil {
			return err
		}
	}
	for i, s := range c.Masters {
		if err := s.own(ctx, Slots*i/3, Slots*(i+1)/3-1); err != nil {
			return err
		}
	}
	for i, s := range c.Replicas {
		if err := s.follow(ctx, c.Masters[i]); err != nil {
			return err
		}
	}
	return c.AwaitHealthy(ctx, len(c.Nodes()))
}

// introduce lets a node meet another node. Each node starts with its own epoch, because the nodes
// would need time to resolve equal epochs.
func (s *Server) introduce(ctx context.Context, other *Server, epoch int) error {
	client := s.plainClient()
	defer client.Close()
	if err := client.Do(ctx, "cluster", "set-config-epoch", epoch).Err(); err != nil || s == other {
		return err
	}
	host, port, err := net.SplitHostPort(other.Addr)
	if err != nil {
		return err
	}
	return client.ClusterMeet(ctx, host, port).Err()
}

// own gives a node a range of slots.
func (s *Server) own(ctx context.Context, first, last int) error {
	client := s.plainClient()
	defer client.Close()
	return client.ClusterAddSlotsRange(ctx, first, last).Err()
}

// follow makes a node a replica of another node. It retries until the node knows the other node.
func (s *Server) follow(ctx context.Context, master *Server) error {
	id, err := master.ID(ctx)
	if err != nil {
		return err
	}
	client := s.plainClient()
	defer client.Close()
	return poll(ctx, func() error { return client.ClusterReplicate(ctx, id).Err() })
}

// ID returns the id of a Cluster node.
func (s *Server) ID(ctx context.Context) (string, error) {
	client := s.plainClient()
	defer client.Close()
	return client.ClusterMyID(ctx).Result()
}

// AwaitHealthy waits until every node sees this many nodes, all slots are served, and each of the
// three masters has a replica in sync.
func (c *Cluster) AwaitHealthy(ctx context.Context, nodes int) error {
	for _, s := range c.Nodes() {
		if err := poll(ctx, func() error { return s.checkHealthy(ctx, nodes) }); err != nil {
			return fmt.Errorf("cluster node %s: %w", s.Addr, err)
		}
	}
	return nil
}

func (s *Server) checkHealthy(ctx context.Context, nodes int) error {
	client := s.plainClient()
	defer client.Close()
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{
		"cluster_state:ok",
		fmt.Sprint("cluster_slots_ok:", Slots),
		fmt.Sprint("cluster_known_nodes:", nodes),
	} {
		if !strings.Contains(info, want) {
			return fmt.Errorf("want %s, got\n%s", want, info)
		}
	}
	view, err := client.ClusterNodes(ctx).Result()
	if err != nil {
		return err
	}
	if replicas := strings.Count(view, "slave"); replicas != nodes-3 {
		return fmt.Errorf("sees %d replicas, want %d:\n%s", replicas, nodes-3, view)
	}
	return checkInSync(ctx, client, 1)
}

// Epoch returns a number that grows with every election, as the last of Masters sees it.
func (c *Cluster) Epoch(t testing.TB) (epoch int) {
	t.Helper()
	client := c.Masters[len(c.Masters)-1].plainClient()
	defer client.Close()
	info, err := client.ClusterInfo(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(info, "cluster_current_epoch:")
	if _, err := fmt.Sscan(after, &epoch); err != nil {
		t.Fatalf("read the epoch: %v in\n%s", err, info)
	}
	return epoch
}

// checkInSync checks that a replica is in sync, or that a master has this many replicas in sync.
func checkInSync(ctx context.Context, client *redis.Client, replicas int) error {
	info, err := client.Info(ctx, "replication").Result()
	if err != nil {
		return err
	}
	inSync := strings.Count(info, "state=online") == replicas
	if strings.Contains(info, "role:slave") {
		inSync = strings.Contains(info, "master_link_status:up")
	}
	if !inSync {
		return errors.New("not in sync:\n" + info)
	}
	return nil
}

// Client returns a client of the whole Cluster. It is closed with the test.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	return c.ClientWith(t, redis.ClusterOptions{})
}

// ClientWith returns a client of the whole Cluster with further options. It is closed with the
// test.
func (c *Cluster) ClientWith(t testing.TB, opts redis.ClusterOptions) *redis.ClusterClient {
	for _, s := range c.Nodes() {
		opts.Addrs = append(opts.Addrs, s.Addr)
	}
	opts.ContextTimeoutEnabled = true
	client := redis.NewClusterClient(&opts)
	t.Cleanup(func() { client.Close() })
	return client
}

package goredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Severity says how much a [Finding] matters.
type Severity int

const (
	SeverityInfo    Severity = iota // worth knowing
	SeverityWarning                 // works, but can lose requests or wait too long one day
	SeverityProblem                 // does not work, or loses requests
)

// String returns "info", "warning" or "problem".
func (s Severity) String() string {
	return [...]string{SeverityInfo: "info", SeverityWarning: "warning", SeverityProblem: "problem"}[s]
}

// MarshalText implements [encoding.TextMarshaler] with String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is something that [Diagnose] found out about a client and its servers.
type Finding struct {
	Severity Severity `json:"severity"`
	Server   string   `json:"server,omitempty"` // its address; "" for what is about the client
	Subject  string   `json:"subject"`          // what it is about, e.g. "eviction"; the same from call to call
	Text     string   `json:"text"`             // what was found
	Advice   string   `json:"advice,omitempty"` // what to do about it
}

// Diagnose looks at a client and its servers for what keeps pending requests from being safe there:
// the version, eviction, persistence, memory, permissions, replicas, the state of a cluster, the
// clock, and the client's own settings. It needs no right beyond those that a Backend needs, though
// without INFO it finds less and says so. Opts are those that New gets; nil works. The gravest
// findings come first. Its error is that of opts.
//
// It writes two keys that are gone a second later. Call it at start-up and from a health check, not
// for each request.
func Diagnose(ctx context.Context, client redis.UniversalClient, opts *Options) ([]Finding, error) {
	b, err := New(client, opts)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	d := &diagnosis{}
	d.client(client)
	if cluster, ok := client.(*redis.ClusterClient); ok {
		d.cluster(ctx, cluster, b)
	} else {
		d.node(ctx, b, address(client), client, anyPartition)
	}
	slices.SortStableFunc(d.findings, func(x, y Finding) int { return int(y.Severity - x.Severity) })
	return d.findings, nil
}

// Check returns an error that names each command that the Backend needs and may not use or cannot,
// joined, and nil when all is well. It is for the start of a program, so that a missing permission
// does not show in the middle of a request. It writes as Diagnose does.
func (b *Backend) Check(ctx context.Context) error {
	cluster, ok := b.client.(*redis.ClusterClient)
	if !ok {
		return b.checkPartition(ctx, anyPartition)
	}
	var mu sync.Mutex
	var problems error
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		err := b.checkPartition(ctx, b.partitionOn(ctx, cluster, master))
		mu.Lock()
		defer mu.Unlock()
		problems = errors.Join(problems, err)
		return nil
	})
	return errors.Join(err, problems)
}

// anyPartition is probed where one server has all partitions.
const anyPartition = "0000"

func (b *Backend) checkPartition(ctx context.Context, partition string) error {
	failed, err := b.probe(ctx, partition)
	if err != nil {
		return fmt.Errorf("goredis: check: run a script: %w", err)
	}
	var problems error
	for _, command := range failed {
		problems = errors.Join(problems, fmt.Errorf("goredis: check: %s", command))
	}
	return problems
}

// probe tries every command in one partition. It returns each failed command with its error. A
// master without a partition has nothing to try: partition is then "".
func (b *Backend) probe(ctx context.Context, partition string) (failed []string, err error) {
	if partition == "" {
		return nil, nil
	}
	k := b.keys(partition, "")
	reply, err := b.run(ctx, b.scripts.probe, []string{k.start + "/probe/s", k.start + "/probe/z"})
	words, _ := reply.([]any)
	for pair := range slices.Chunk(words, 2) {
		failed = append(failed, fmt.Sprintf("%v: %v", pair[0], pair[len(pair)-1]))
	}
	return failed, err
}

// partitionOn returns a partition that a master of the cluster has, or "" if none is found.
func (b *Backend) partitionOn(ctx context.Context, cluster *redis.ClusterClient, master *redis.Client) string {
	for i := range 1 << 16 {
		partition := fmt.Sprintf("%04x", i)
		if at, err := cluster.MasterForKey(ctx, b.channel(partition)); err == nil && at == master {
			return partition
		}
	}
	return ""
}

// address is where a client connects to.
func address(client redis.UniversalClient) string {
	if c, ok := client.(*redis.Client); ok {
		return c.Options().Addr
	}
	return ""
}

// diagnosis collects findings.
type diagnosis struct {
	mu       sync.Mutex
	findings []Finding
}

func (d *diagnosis) add(severity Severity, server, subject, text, advice string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.findings = append(d.findings, Finding{severity, server, subject, text, advice})
}

// client looks at the client's own settings.
func (d *diagnosis) client(client redis.UniversalClient) {
	keepsDeadlines := true
	switch c := client.(type) {
	case *redis.Client:
		keepsDeadlines = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		keepsDeadlines = c.Options().ContextTimeoutEnabled
	}
	if !keepsDeadlines {
		d.add(SeverityWarning, "", "deadlines", "the client does not keep the deadlines of contexts",
			"set ContextTimeoutEnabled; a call may otherwise last many seconds longer than its context")
	}
	if stats := client.PoolStats(); stats != nil && stats.Timeouts > 0 {
		d.add(SeverityWarning, "", "pool", fmt.Sprintf("%d calls found no free connection in time (%d are open)", stats.Timeouts,
			stats.TotalConns), "raise PoolSize, or let Options.AutoPipeline gather commands; waiters hold no connection")
	}
}

// cluster looks at each master.
func (d *diagnosis) cluster(ctx context.Context, cluster *redis.ClusterClient, b *Backend) {
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		d.node(ctx, b, master.Options().Addr, master, b.partitionOn(ctx, cluster, master))
		return nil
	})
	if err != nil {
		d.unreachable("", err)
	}
}

// node looks at one server. It says no more than that if the server cannot be reached.
func (d *diagnosis) node(ctx context.Context, b *Backend, addr string, client redis.Cmdable, partition string) {
	failed, err := b.probe(ctx, partition)
	switch {
	case err != nil && !answered(err):
		d.unreachable(addr, err)
		return
	case err != nil:
		d.unusable(addr, err.Error())
	}
	for _, command := range failed {
		d.unusable(addr, command)
	}
	d.subscription(ctx, b, addr, partition)
	before := time.Now()
	if now, err := client.Time(ctx).Result(); err == nil {
		d.clock(addr, now.Sub(before.Add(time.Since(before)/2)))
	}
	text, err := client.Info(ctx).Result()
	if err != nil {
		d.add(SeverityInfo, addr, "info", fmt.Sprintf("INFO cannot be read, so less is known: %v", err),
			"allow +info to have the version, memory, persistence and replicas checked")
		return
	}
	info := parseInfo(text)
	d.version(addr, info)
	d.memory(addr, info)
	d.persistence(addr, info)
	d.replication(addr, info)
	d.clusterMode(ctx, addr, info, client)
}

// answered reports whether an error came from a server that has accepted the client.
func answered(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer) && !redis.HasErrorPrefix(err, "WRONGPASS") &&
		!redis.HasErrorPrefix(err, "NOAUTH")
}

func (d *diagnosis) unreachable(addr string, err error) {
	text, advice := "the server cannot be reached", "see whether it is up and the address is right"
	if answer := redis.Error(nil); errors.As(err, &answer) {
		text, advice = "the server does not accept the client", "see its user name and password"
	}
	d.add(SeverityProblem, addr, "connection", fmt.Sprintf("%s: %v", text, err), advice)
}

// unusable tells what a probe found.
func (d *diagnosis) unusable(addr, text string) {
	advice := "see the server's log"
	switch {
	case strings.Contains(text, "NOPERM") || strings.Contains(text, "ermission"):
		advice = "give the user the permissions that the README lists"
	case strings.Contains(text, "OOM"):
		advice = "raise maxmemory: new requests are refused"
	case strings.Contains(text, "READONLY"):
		advice = "connect to the master"
	case strings.Contains(text, "Unknown Redis command"):
		advice = "use Redis 7 or later; those who wait poll meanwhile"
	}
	d.add(SeverityProblem, addr, "commands", text, advice)
}

// clockOffsetLimit is from when on a difference between clocks is worth a word.
const clockOffsetLimit = time.Second

func (d *diagnosis) clock(addr string, offset time.Duration) {
	if offset.Abs() > clockOffsetLimit {
		d.add(SeverityInfo, addr, "clock", fmt.Sprintf("the server's clock differs from this node's by %v", offset.Round(time.Millisecond)),
			"harmless here, since only the server's clock counts; logs of both are hard to compare")
	}
}

func (d *diagnosis) version(addr string, info map[string]string) {
	version := info["redis_version"]
	if before(version, 6, 2) {
		d.add(SeverityProblem, addr, "version", "the server's version is "+version, "use Redis 6.2 or later, or Valkey")
	}
	if info["cluster_enabled"] == "1" && before(version, 7, 0) {
		d.add(SeverityWarning, addr, "version", "a cluster of version "+version+" cannot push wake-ups: those who wait poll", "use Redis 7 or later")
	}
}

// before reports whether a version such as 6.0.16 is older than major.minor. One that cannot be
// read is not.
func before(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	x, err1 := strconv.Atoi(parts[0])
	y, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (x < major || x == major && y < minor)
}

func (d *diagnosis) memory(addr string, info map[string]string) {
	limit, used := number(info["maxmemory"]), number(info["used_memory"])
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		severity, when := SeverityWarning, "would, if maxmemory were set, remove"
		if limit > 0 {
			severity, when = SeverityProblem, "removes"
		}
		d.add(severity, addr, "eviction", fmt.Sprintf("maxmemory-policy %s %s requests and whole queues without a word when memory is full", policy, when),
			"set maxmemory-policy noeviction: then new requests are refused, with an error")
	}
	switch {
	case limit <= 0:
		d.add(SeverityInfo, addr, "memory", "maxmemory is not set", "set it below the machine's memory, so that requests are refused before the process is killed")
	case used*100 > limit*95:
		d.add(SeverityProblem, addr, "memory", fmt.Sprintf("%d%% of maxmemory is used", used*100/limit), "raise maxmemory")
	case used*100 > limit*80:
		d.add(SeverityWarning, addr, "memory", fmt.Sprintf("%d%% of maxmemory is used", used*100/limit), "raise maxmemory before requests are refused")
	}
}

func (d *diagnosis) persistence(addr string, info map[string]string) {
	if info["aof_enabled"] == "0" {
		d.add(SeverityInfo, addr, "persistence", "the append-only file is off: a restart loses requests since the last snapshot, or all",
			"set appendonly yes, unless callers may ask again")
	}
	for _, field := range []string{"aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"} {
		if status := info[field]; status != "" && status != "ok" {
			d.add(SeverityProblem, addr, "persistence", fmt.Sprintf("%s is %s: the server cannot write to its disk", field, status),
				"see the server's log; it may refuse all writes (MISCONF)")
		}
	}
	if info["loading"] == "1" {
		d.add(SeverityWarning, addr, "persistence", "the server is still loading its data", "wait")
	}
}

func (d *diagnosis) replication(addr string, info map[string]string) {
	switch {
	case info["role"] == "slave":
		d.add(SeverityProblem, addr, "replicas", "this server is a replica, which takes no writes", "connect to its master, by Sentinel or as a cluster")
	case info["connected_slaves"] == "0" && info["cluster_enabled"] == "1":
		d.add(SeverityWarning, addr, "replicas", "this master has no replica: when it fails, its requests are gone", "add a replica")
	case info["connected_slaves"] == "0":
		d.add(SeverityInfo, addr, "replicas", "there is no replica: while the server is away, so are all requests", "add one, with Sentinel, if that matters")
	}
}

func (d *diagnosis) clusterMode(ctx context.Context, addr string, info map[string]string, client redis.Cmdable) {
	if info["cluster_enabled"] != "1" {
		return
	}
	if text, err := client.ClusterInfo(ctx).Result(); err == nil {
		if state := parseInfo(text)["cluster_state"]; state != "ok" {
			d.add(SeverityProblem, addr, "cluster", "cluster_state is "+state, "see which slots have no master: redis-cli --cluster check")
		}
	}
}

// subscription tries to listen for wake-ups.
func (d *diagnosis) subscription(ctx context.Context, b *Backend, addr, partition string) {
	if partition == "" {
		return
	}
	err := b.wakes.try(ctx, b.channel(partition))
	if err == nil {
		return
	}
	advice := "see the server's log"
	if redis.HasErrorPrefix(err, "NOPERM") {
		advice = "give the user the permissions for wake-ups that the README lists"
	}
	d.add(SeverityWarning, addr, "wake-ups",
		fmt.Sprintf("wake-ups cannot be listened for, so those who wait poll: %v", err), advice)
}

// parseInfo reads what INFO and CLUSTER INFO answer.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if field, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[field] = value
		}
	}
	return info
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // 0 for what is not there
	return n
}

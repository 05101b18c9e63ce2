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

	"github.com/pendingq/pendingq/backends"
)

// Diagnose checks a client and its servers for dangers to pending requests: the version, eviction,
// persistence, memory, permissions, replicas, the state of a cluster, the clock, and the client's
// kind and settings. It needs the permissions of a Backend. Without INFO it finds less, and a
// finding says so. Pass the same opts as to New; nil works. The most severe findings come first.
// Diagnose returns the error of New. All other problems are findings.
//
// Diagnose writes two keys on each server. They expire after a second. Call Diagnose at start-up
// and from a health check, not for each request.
func Diagnose(
	ctx context.Context, client redis.UniversalClient, opts *Options) ([]backends.Finding, error) {
	b, err := New(client, opts)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	d := &diagnosis{}
	d.client(client)
	found, err := eachServer(ctx, b, b.diagnose)
	d.when(err != nil && !d.unreachable(err), backends.SeverityProblem, "connection",
		fmt.Sprint(err), adviceOn(err))
	findings := slices.Concat(append(found, d.findings)...)
	slices.SortStableFunc(findings, backends.Finding.Compare)
	return findings, nil
}

// Check tries commands on each server. Its error names the commands that failed. Call Check when a
// program starts. Then a missing permission shows before the first request. Check does not try
// UNLINK, SCAN, or the commands of subscriptions, PING included. It writes the same two keys as
// Diagnose.
func (b *Backend) Check(ctx context.Context) error {
	failed, err := eachServer(ctx, b, b.probe)
	if err := errors.Join(append(slices.Concat(failed...), err)...); err != nil {
		return fmt.Errorf("goredis: check: %w", err)
	}
	return nil
}

// eachServer calls look for each server that accepts writes, all at the same time. It passes a
// partition of the server, or "" if the server has none. It returns all results.
func eachServer[T any](ctx context.Context, b *Backend,
	look func(ctx context.Context, server redis.Cmdable, partition string) T) ([]T, error) {
	cluster := b.wakes.cluster
	if cluster == nil {
		return []T{look(ctx, b.client, "0000")}, nil
	}
	var mu sync.Mutex
	var results []T
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		result := look(ctx, master, b.partitionOn(ctx, master))
		mu.Lock()
		defer mu.Unlock()
		results = append(results, result)
		return nil
	})
	return results, err
}

// partitionOn returns a partition of a Cluster's master, or "" if the master has none.
func (b *Backend) partitionOn(ctx context.Context, master *redis.Client) string {
	for i := range 1 << 16 {
		partition := fmt.Sprintf("%04x", i)
		if at, err := b.wakes.locate(ctx, b.channel(partition)); err == nil && at == master {
			return partition
		}
	}
	return ""
}

// probe tries the commands of the scripts in a partition. It returns the error of each failed
// command.
func (b *Backend) probe(ctx context.Context, _ redis.Cmdable, partition string) (failed []error) {
	if partition == "" {
		return nil
	}
	k, publish := b.keys(partition, ""), "PUBLISH"
	if b.wakes.cluster != nil {
		publish = "SPUBLISH"
	}
	keys := []string{k.start + "/probe/s", k.start + "/probe/z"}
	reply, err := b.run(ctx, b.scripts.probe, keys, publish)
	if err != nil {
		return []error{fmt.Errorf("run a script: %w", err)}
	}
	words, _ := reply.([]any)
	for pair := range slices.Chunk(words, 2) {
		failed = append(failed, fmt.Errorf("%v: %v", pair[0], pair[len(pair)-1]))
	}
	return failed
}

// diagnosis collects findings about a server, or about the client.
type diagnosis struct {
	server   string
	findings []backends.Finding
}

// when adds a finding if found is true.
func (d *diagnosis) when(found bool, severity backends.Severity, subject, text, advice string) {
	if found {
		d.findings = append(d.findings, backends.Finding{Severity: severity, Server: d.server,
			Subject: subject, Text: text, Advice: advice})
	}
}

// client checks the client's own settings.
func (d *diagnosis) client(client redis.UniversalClient) {
	keepsDeadlines := true
	switch c := client.(type) {
	case interface{ Options() *redis.Options }:
		keepsDeadlines = c.Options().ContextTimeoutEnabled
	case interface{ Options() *redis.ClusterOptions }:
		keepsDeadlines = c.Options().ContextTimeoutEnabled
	}
	d.when(!keepsDeadlines, backends.SeverityWarning, "deadlines",
		"the client does not keep the deadlines of contexts",
		"set ContextTimeoutEnabled; a call may otherwise last many seconds longer than its context")
	if s := client.PoolStats(); s != nil {
		d.when(s.Timeouts > 0, backends.SeverityWarning, "pool",
			fmt.Sprintf("%d calls found no free connection in time (%d are open)",
				s.Timeouts, s.TotalConns),
			"raise PoolSize, or let Options.AutoPipeline gather commands; "+
				"waiters hold no connection")
	}
}

// diagnose checks one server. If the server is unreachable, that is the only finding.
func (b *Backend) diagnose(
	ctx context.Context, server redis.Cmdable, partition string) []backends.Finding {
	d := &diagnosis{}
	if c, ok := server.(*redis.Client); ok {
		d.server = c.Options().Addr
	}
	before := time.Now()
	now, err := server.Time(ctx).Result()
	if d.unreachable(err) {
		return d.findings
	}
	offset := now.Sub(before.Add(time.Since(before) / 2)).Round(time.Millisecond)
	d.when(err == nil && offset.Abs() > time.Second, backends.SeverityInfo, "clock",
		fmt.Sprintf("the server's clock differs from this node's by %v", offset),
		"harmless here, since only the server's clock counts; logs of both are hard to compare")
	for _, err := range b.probe(ctx, server, partition) {
		d.when(true, backends.SeverityProblem, "commands", err.Error(), adviceOn(err))
	}
	if partition != "" {
		err := b.wakes.try(ctx, b.channel(partition))
		d.when(err != nil, backends.SeverityWarning, "wake-ups",
			fmt.Sprintf("waiters only poll: the client cannot subscribe: %v", err), adviceOn(err))
	}
	if b.wakes.cluster == nil {
		d.masters(b.client, server.ClusterSlots(ctx).Val()) // none without a Cluster
	}
	text, err := server.Info(ctx).Result()
	d.when(err != nil, backends.SeverityInfo, "info",
		fmt.Sprintf("INFO cannot be read, so less is known: %v", err),
		"allow +info to have the version, memory, persistence and replicas checked")
	if err != nil {
		return d.findings
	}
	info := parseInfo(text)
	d.memory(info)
	d.persistence(info)
	clustered := info["cluster_enabled"] == "1"
	d.version(info["redis_version"], clustered)
	d.replicas(info["role"], info["connected_slaves"], clustered)
	if clustered {
		text, err := server.ClusterInfo(ctx).Result()
		d.cluster(parseInfo(text)["cluster_state"], err)
	}
	return d.findings
}

// masters checks a client that is no ClusterClient. It works on a Cluster only if one master has
// all slots.
func (d *diagnosis) masters(client redis.UniversalClient, slots []redis.ClusterSlot) {
	masters := map[string]bool{}
	for _, s := range slots {
		if len(s.Nodes) > 0 { // the master comes first
			masters[s.Nodes[0].Addr] = true
		}
	}
	d.when(len(masters) > 1, backends.SeverityProblem, "client",
		fmt.Sprintf("the servers are a Cluster of %d masters, but the client (%T) is no "+
			"ClusterClient, or hides it", len(masters), client),
		"pass a *redis.ClusterClient to New, or a type that embeds one")
}

func (d *diagnosis) cluster(state string, err error) {
	d.when(err == nil && state != "ok", backends.SeverityProblem, "cluster",
		"cluster_state is "+state, "see which slots have no master: redis-cli --cluster check")
}

// unreachable reports whether the client cannot use the server at all, and adds a finding for it.
func (d *diagnosis) unreachable(err error) bool {
	var answer redis.Error
	away := err != nil && !errors.As(err, &answer)
	d.when(away, backends.SeverityProblem, "connection",
		fmt.Sprintf("the server cannot be reached: %v", err),
		"check that the server runs and that the address is right")
	refused := redis.HasErrorPrefix(err, "WRONGPASS") || redis.HasErrorPrefix(err, "NOAUTH")
	d.when(refused, backends.SeverityProblem, "connection",
		fmt.Sprintf("the server does not accept the client: %v", err),
		"check the client's user name and password")
	return away || refused
}

// adviceOn returns the advice for a failed command.
func adviceOn(err error) string {
	text := fmt.Sprint(err)
	switch {
	case strings.Contains(text, "NOPERM") || strings.Contains(text, "ermission"):
		return "give the user the permissions that the README lists"
	case strings.Contains(text, "OOM"):
		return "raise maxmemory: new requests are refused"
	case strings.Contains(text, "READONLY"):
		return "connect to the master"
	case strings.Contains(text, "Unknown Redis command"):
		return "use Redis 7 or later; waiters poll meanwhile"
	}
	return "see the server's log"
}

func (d *diagnosis) version(version string, clustered bool) {
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	known := err == nil
	d.when(known && (major < 6 || major == 6 && minor < 2), backends.SeverityProblem, "version",
		"the server's version is "+version, "use Redis 6.2 or later, or Valkey")
	d.when(known && clustered && major < 7, backends.SeverityWarning, "version",
		"a cluster of version "+version+" cannot push wake-ups: waiters poll",
		"use Redis 7 or later")
}

func (d *diagnosis) memory(info map[string]string) {
	limit, _ := strconv.ParseInt(info["maxmemory"], 10, 64)
	used, _ := strconv.ParseInt(info["used_memory"], 10, 64)
	severity := backends.SeverityProblem
	if limit <= 0 {
		severity = backends.SeverityWarning
	}
	policy := info["maxmemory_policy"]
	d.when(policy != "" && policy != "noeviction", severity, "eviction",
		"maxmemory-policy "+policy+" silently removes requests when maxmemory is reached",
		"set maxmemory-policy noeviction: then new requests are refused, with an error")
	d.when(limit <= 0, backends.SeverityInfo, "memory", "maxmemory is not set",
		"set it below the machine's memory: "+
			"the server then refuses requests before the machine kills it")
	percent := used * 100 / max(limit, 1)
	text := fmt.Sprintf("%d%% of maxmemory is used", percent)
	d.when(limit > 0 && percent >= 95, backends.SeverityProblem, "memory", text, "raise maxmemory")
	d.when(limit > 0 && percent >= 80 && percent < 95, backends.SeverityWarning, "memory", text,
		"raise maxmemory before requests are refused")
}

func (d *diagnosis) persistence(info map[string]string) {
	d.when(info["aof_enabled"] == "0", backends.SeverityInfo, "persistence",
		"the append-only file is off: a restart loses requests since the last snapshot, or all",
		"set appendonly yes, unless callers may ask again")
	for _, field := range []string{
		"aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status",
	} {
		status := info[field]
		d.when(status != "" && status != "ok", backends.SeverityProblem, "persistence",
			fmt.Sprintf("%s is %s: the server cannot write to its disk", field, status),
			"see the server's log; it may refuse all writes (MISCONF)")
	}
	d.when(info["loading"] == "1", backends.SeverityWarning, "persistence",
		"the server is still loading its data", "wait")
}

func (d *diagnosis) replicas(role, count string, clustered bool) {
	d.when(role == "slave", backends.SeverityProblem, "replicas",
		"this server is a replica, which takes no writes",
		"connect to its master, by Sentinel or as a cluster")
	alone := role != "slave" && count == "0"
	d.when(alone && clustered, backends.SeverityWarning, "replicas",
		"this master has no replica: when it fails, its requests are gone", "add a replica")
	d.when(alone && !clustered, backends.SeverityInfo, "replicas",
		"there is no replica: while the server is away, so are all requests",
		"add one, with Sentinel, if that matters")
}

// parseInfo reads the reply of INFO or CLUSTER INFO.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		field, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[field] = value
	}
	return info
}

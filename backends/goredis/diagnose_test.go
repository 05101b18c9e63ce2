package goredis_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

func diagnose(t *testing.T, client redis.UniversalClient) []backends.Finding {
	t.Helper()
	findings, err := goredis.Diagnose(t.Context(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

// subjects returns the subjects of the findings with this severity.
func subjects(findings []backends.Finding, severity backends.Severity) (subjects []string) {
	for _, f := range findings {
		if f.Severity == severity {
			subjects = append(subjects, f.Subject)
		}
	}
	return subjects
}

func TestDiagnoseFindsNoProblemOnAGoodServer(t *testing.T) {
	client := redistest.Start(t, "--maxmemory", "100mb", "--appendonly", "yes").Client(t)
	for _, f := range diagnose(t, client) {
		if f.Severity > backends.SeverityInfo {
			t.Errorf("found %v", f)
		}
	}
	if err := newBackend(t, client, nil).Check(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "the keys of Diagnose have expired", func() bool {
		return client.DBSize(t.Context()).Val() == 0
	})
}

func TestDiagnoseFindsEachProblem(t *testing.T) {
	const info, warning = backends.SeverityInfo, backends.SeverityWarning
	const problem = backends.SeverityProblem
	const evicting = "--maxmemory 100mb --maxmemory-policy volatile-lru"
	for name, tc := range map[string]struct {
		config   string
		severity backends.Severity
		subject  string
	}{
		"eviction":                 {evicting, problem, "eviction"},
		"eviction without a limit": {"--maxmemory-policy allkeys-lru", warning, "eviction"},
		"hardly any memory left":   {"--maxmemory 1kb", problem, "memory"},
		"writes without memory":    {"--maxmemory 1kb", problem, "commands"},
		"no memory limit":          {"", info, "memory"},
		"no persistence":           {"", info, "persistence"},
		"no replica":               {"", info, "replicas"},
		"a replica":                {"--replicaof 127.0.0.1 1", problem, "replicas"},
		"a cluster without slots":  {"--cluster-enabled yes", problem, "cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, strings.Fields(tc.config)...)
			findings := diagnose(t, server.Client(t))
			if !slices.Contains(subjects(findings, tc.severity), tc.subject) {
				t.Errorf("no %v about %s in %v", tc.severity, tc.subject, findings)
			}
			if !slices.IsSortedFunc(findings, backends.Finding.Compare) {
				t.Errorf("the most severe findings do not come first: %v", findings)
			}
		})
	}
}

func TestAClientOfTheOnlyNodeOfAClusterWorks(t *testing.T) {
	client := redistest.Start(t, "--cluster-enabled", "yes").Client(t)
	if err := client.ClusterAddSlotsRange(t.Context(), 0, redistest.Slots-1).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool {
		return strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
	r := newRig(t, client)
	r.lifecycle(lasting("s"), box)
	if err := r.b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := subjects(diagnose(t, client), backends.SeverityProblem); len(got) > 0 {
		t.Errorf("diagnosed problems: %v", got)
	}
	checkWoken(t, client)
}

func TestDiagnoseChecksTheClient(t *testing.T) {
	server := redistest.Start(t)
	careless := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { careless.Close() })
	warnings := subjects(diagnose(t, careless), backends.SeverityWarning)
	if !slices.Contains(warnings, "deadlines") {
		t.Errorf("a client that ignores deadlines: got the warnings %v", warnings)
	}
	invalid := &goredis.Options{Prefix: "{"}
	if _, err := goredis.Diagnose(t.Context(), careless, invalid); err == nil {
		t.Error("Diagnose accepted options that New refuses")
	}
}

func TestDiagnoseReportsAnUnreachableServerOnce(t *testing.T) {
	const nobody = "127.0.0.1:1"
	away := redis.NewClient(&redis.Options{Addr: nobody, ContextTimeoutEnabled: true})
	t.Cleanup(func() { away.Close() })
	cluster := redis.NewClusterClient(
		&redis.ClusterOptions{Addrs: []string{nobody}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { cluster.Close() })
	stranger := redistest.Start(t).ClientWith(t, redis.Options{Username: "eve", Password: "wrong"})
	for name, tc := range map[string]struct {
		client       redis.UniversalClient
		text, advice string
	}{
		"nothing listens":               {away, "connection refused", "address"},
		"nothing listens, of a cluster": {cluster, "connection refused", "address"},
		"a wrong password":              {stranger, "WRONGPASS", "password"},
	} {
		findings := diagnose(t, tc.client)
		if len(findings) != 1 || findings[0].Severity != backends.SeverityProblem {
			t.Errorf("%s: got %+v, want one problem", name, findings)
			continue
		}
		f := findings[0]
		if f.Subject != "connection" || strings.Count(f.Text, tc.text) != 1 ||
			!strings.Contains(f.Advice, tc.advice) {
			t.Errorf("%s: got %+v, want %q and the advice %q", name, f, tc.text, tc.advice)
		}
	}
}

func TestCheckNamesEachCommandThatIsMissing(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	for _, command := range []string{"exists", "time", "get", "mget", "set", "setrange", "pttl",
		"pexpire", "zadd", "zrem", "zcount", "zrangebyscore", "zrevrangebyscore", "publish"} {
		allow(t, admin, "lacking", "&*", "+@all", "-"+command)
		client := userClient(t, server, "lacking")
		err := newBackend(t, client, nil).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), strings.ToUpper(command)) {
			t.Errorf("without %s: Check returned %v", command, err)
		}
		problems := subjects(diagnose(t, client), backends.SeverityProblem)
		if !slices.Contains(problems, "commands") {
			t.Errorf("without %s: diagnosed the problems %v", command, problems)
		}
	}
	for _, command := range []string{"spublish", "zscore"} {
		allow(t, admin, "lacking", "&*", "+@all", "-"+command)
		lacking := redis.ClusterOptions{Username: "lacking", Password: "any"}
		onCluster := clusterOf(t, server, lacking, nil)
		err := newBackend(t, onCluster, nil).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), strings.ToUpper(command)) {
			t.Errorf("on a Cluster without %s: Check returned %v", command, err)
		}
	}
	allow(t, admin, "mute", "+@all", "resetchannels")
	warnings := subjects(diagnose(t, userClient(t, server, "mute")), backends.SeverityWarning)
	if !slices.Contains(warnings, "wake-ups") {
		t.Errorf("without channels: diagnosed the warnings %v", warnings)
	}
}

// allow sets the rules of a user who may use all keys. The user needs no password.
func allow(t *testing.T, admin *redis.Client, user string, rules ...string) {
	t.Helper()
	rules = append([]string{"reset", "on", "nopass", "~*"}, rules...)
	if err := admin.ACLSetUser(t.Context(), user, rules...).Err(); err != nil {
		t.Fatal(err)
	}
}

// userClient returns a client of a user without a password.
func userClient(t *testing.T, server *redistest.Server, user string) *redis.Client {
	return server.ClientWith(t, redis.Options{Username: user, Password: "any"})
}

func TestCheckKeepsItsDeadline(t *testing.T) {
	client := redistest.Start(t).Client(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newBackend(t, client, nil).Check(ctx); err == nil {
		t.Error("Check succeeded although its context had ended")
	}
}

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

// subjects are those of the findings of a severity.
func subjects(findings []backends.Finding, severity backends.Severity) (subjects []string) {
	for _, f := range findings {
		if f.Severity == severity {
			subjects = append(subjects, f.Subject)
		}
	}
	return subjects
}

func TestDiagnoseFindsNothingWrongWithASoundServer(t *testing.T) {
	client := redistest.Start(t, "--maxmemory", "100mb", "--appendonly", "yes").Client(t)
	for _, f := range diagnose(t, client) {
		if f.Severity > backends.SeverityInfo {
			t.Errorf("found %v", f)
		}
	}
	if err := newBackend(t, client, nil).Check(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "its own keys are gone", func() bool { return client.DBSize(t.Context()).Val() == 0 })
}

func TestDiagnoseNamesWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		config   []string
		severity backends.Severity
		subject  string
	}{
		"an evicting policy":             {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"}, backends.SeverityProblem, "eviction"},
		"one that has no limit to reach": {[]string{"--maxmemory-policy", "allkeys-lru"}, backends.SeverityWarning, "eviction"},
		"hardly any memory left":         {[]string{"--maxmemory", "1kb"}, backends.SeverityProblem, "memory"},
		"writes that memory refuses":     {[]string{"--maxmemory", "1kb"}, backends.SeverityProblem, "commands"},
		"no limit":                       {nil, backends.SeverityInfo, "memory"},
		"no persistence":                 {nil, backends.SeverityInfo, "persistence"},
		"no replica":                     {nil, backends.SeverityInfo, "replicas"},
		"a replica":                      {[]string{"--replicaof", "127.0.0.1 1"}, backends.SeverityProblem, "replicas"},
		"a cluster without slots":        {[]string{"--cluster-enabled", "yes"}, backends.SeverityProblem, "cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := diagnose(t, redistest.Start(t, tc.config...).Client(t))
			if !slices.Contains(subjects(findings, tc.severity), tc.subject) {
				t.Errorf("no %v about %s in %v", tc.severity, tc.subject, findings)
			}
			if !slices.IsSortedFunc(findings, backends.Finding.Compare) {
				t.Errorf("the gravest do not come first: %v", findings)
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

func TestDiagnoseLooksAtTheClient(t *testing.T) {
	server := redistest.Start(t)
	careless := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { careless.Close() })
	if got := subjects(diagnose(t, careless), backends.SeverityWarning); !slices.Contains(got, "deadlines") {
		t.Errorf("a client that keeps no deadlines: %v", got)
	}
	if _, err := goredis.Diagnose(t.Context(), careless, &goredis.Options{Prefix: "{"}); err == nil {
		t.Error("options that New refuses were taken")
	}
}

func TestDiagnoseSaysOnceThatAServerIsAway(t *testing.T) {
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
	for _, command := range []string{"exists", "time", "get", "set", "setrange", "pttl", "pexpire", "zadd", "zrem", "zcount",
		"zrangebyscore", "zrevrangebyscore", "publish"} {
		admin.ACLSetUser(t.Context(), "lacking", "reset", "on", "nopass", "~*", "&*", "+@all", "-"+command)
		client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "lacking", Password: "x", ContextTimeoutEnabled: true})
		err := newBackend(t, client, nil).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), strings.ToUpper(command)) {
			t.Errorf("without %s: %v", command, err)
		}
		if got := subjects(diagnose(t, client), backends.SeverityProblem); !slices.Contains(got, "commands") {
			t.Errorf("without %s: diagnosed %v", command, got)
		}
		client.Close()
	}
	admin.ACLSetUser(t.Context(), "mute", "on", "nopass", "~*", "+@all", "resetchannels")
	mute := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "mute", Password: "x", ContextTimeoutEnabled: true})
	t.Cleanup(func() { mute.Close() })
	if got := subjects(diagnose(t, mute), backends.SeverityWarning); !slices.Contains(got, "wake-ups") {
		t.Errorf("without channels: %v", got)
	}
}

func TestCheckKeepsItsDeadline(t *testing.T) {
	client := redistest.Start(t).Client(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newBackend(t, client, nil).Check(ctx); err == nil {
		t.Error("a check whose time was over found all well")
	}
}

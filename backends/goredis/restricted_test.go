package goredis_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/backendtest"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// smallestACL is all that a user of goredis has to be allowed, on the keys of its prefix. With
// pushACL and the channels of its prefix, wake-ups are pushed; without them, waiters poll. The
// clients of a Cluster need clusterACL as well, on every node. Without its +command all works, but
// go-redis tries it three times before each call.
const (
	smallestACL = "+eval +evalsha +exists +time +get +mget +set +setrange +pttl +pexpire +zadd +zrem " +
		"+zcount +zrangebyscore +zrevrangebyscore"
	tidyACL        = "+unlink" // without it a large payload that is no longer needed expires
	pushACL        = "+publish +subscribe +unsubscribe +ping"
	clusterACL     = "+cluster|slots +command +zscore"
	clusterPushACL = "+spublish +ssubscribe +sunsubscribe +ping"
)

const (
	restrictedUser     = "restricted"
	restrictedPassword = "secret"
)

// restrict gives a server the restricted user with these rights alone, on the keys and no channel
// of one prefix.
func restrict(t testing.TB, server *redistest.Server, prefix, rights string) {
	t.Helper()
	words := []any{"acl", "setuser", restrictedUser, "reset", "on", ">" + restrictedPassword, "~" + prefix + "*"}
	for right := range strings.FieldsSeq(rights) {
		words = append(words, right)
	}
	if err := server.Client(t).Do(t.Context(), words...).Err(); err != nil {
		t.Fatal(err)
	}
}

func restrictedClient(t testing.TB, server *redistest.Server) *redis.Client {
	return server.ClientWith(t, redis.Options{Username: restrictedUser, Password: restrictedPassword, PoolSize: 64})
}

func TestRestrictedUserPassesTheSuite(t *testing.T) {
	server := redistest.Start(t)
	restrict(t, server, "mine:", smallestACL)
	conformUnder(t, restrictedClient(t, server))
}

func TestRestrictedUserPassesTheSuiteOnCluster(t *testing.T) {
	c := redistest.StartCluster(t)
	for _, server := range c.Nodes() {
		restrict(t, server, "mine:", smallestACL+" "+clusterACL)
	}
	conformUnder(t, c.ClientWith(t, redis.ClusterOptions{Username: restrictedUser, Password: restrictedPassword}))
}

// conformUnder runs the suite, but for its cases of wake-ups: the smallest rights do not allow
// these.
func conformUnder(t *testing.T, client redis.UniversalClient) {
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		prefix := "mine:" + backends.NewID(t.Name()) + ":"
		b := newBackend(t, client, &goredis.Options{Prefix: prefix})
		return struct {
			backends.Backend
			backends.ManyClaimer
		}{b, b}
	})
}

func TestRestrictedUserIsWokenUp(t *testing.T) {
	server := redistest.Start(t)
	restrict(t, server, "mine:", smallestACL+" "+pushACL+" &mine:*")
	checkWoken(t, restrictedClient(t, server))
}

func TestRestrictedUserIsWokenUpOnCluster(t *testing.T) {
	c := redistest.StartCluster(t)
	for _, server := range c.Nodes() {
		restrict(t, server, "mine:", smallestACL+" "+clusterACL+" "+clusterPushACL+" &mine:*")
	}
	checkWoken(t, c.ClientWith(t, redis.ClusterOptions{Username: restrictedUser, Password: restrictedPassword}))
}

// checkWoken checks that one who waits learns of a request without polling.
func checkWoken(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	b := newBackend(t, client, &goredis.Options{Prefix: "mine:"})
	woken, stop := b.WatchMailbox(t.Context(), box)
	defer stop()
	if _, err := b.Create(t.Context(), question(lasting("s"), box)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Error("no wake-up came")
	}
}

func TestRestrictedUserReachesNoOtherKeys(t *testing.T) {
	server := redistest.Start(t)
	restrict(t, server, "mine:", smallestACL)
	r := newRig(t, restrictedClient(t, server)) // its prefix is another
	for _, step := range r.steps(question(lasting("s"), box)) {
		if err := step.call(t.Context()); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s: got %v, want NOPERM", step.name, err)
		}
	}
}

func TestRestrictedUserIsToldOfEachMissingRight(t *testing.T) {
	for right := range strings.FieldsSeq(smallestACL) {
		t.Run(right, func(t *testing.T) {
			server := redistest.Start(t)
			full := newRig(t, server.Client(t))
			restrict(t, server, full.prefix, strings.Replace(smallestACL+" ", right+" ", "", 1)+tidyACL)
			restricted := &rig{T: t, b: newBackend(t, restrictedClient(t, server), &goredis.Options{Prefix: full.prefix})}
			refused := checkRefused(t, full, restricted, right)
			full.reset(nil)
			full.large, restricted.large = true, true
			if refused += checkRefused(t, full, restricted, right); refused == 0 {
				t.Errorf("nothing needs %s", right)
			}
		})
	}
}

// halfDone are the rights whose loss a script notices only after its first write, so that they have
// to be checked before work begins: a claim that fails then has taken its request out of the queue,
// which times out; a large answer that fails stays staged for as long as it would have been kept,
// and what could have been claimed again times out.
var halfDone = []string{"+set", "+setrange", "+pttl", "+pexpire", "+zadd"}

// checkRefused leads a request through its life. At each step the restricted user tries first: it
// is either able to, or told that it may not, and then nothing is stored but what was before. It
// returns how often it was told.
func checkRefused(t *testing.T, full, restricted *rig, right string) (refused int) {
	t.Helper()
	terms := lasting("s")
	terms.MaxAttempts, terms.MaxPending = 3, 1
	expireLease(full, terms)
	terms.MaxPending = 2
	c := question(terms, box)
	able := full.steps(c)
	for i, step := range restricted.steps(c) {
		before := full.dump()
		err := step.call(t.Context())
		if err == nil {
			continue
		}
		refused++
		if command := strings.TrimPrefix(right, "+"); !strings.Contains(strings.ToLower(err.Error()), command) {
			t.Fatalf("%s: got %v, want an error that names %s", step.name, err, command)
		}
		if after := full.dump(); !maps.Equal(before, after) && !slices.Contains(halfDone, right) {
			t.Errorf("%s failed, but stored something: %d keys, then %d", step.name, len(before), len(after))
		}
		full.reset(before)
		if err := able[i].call(t.Context()); err != nil {
			t.Fatalf("%s by a user who may: %v", step.name, err)
		}
	}
	return refused
}

// expireLease leaves an expired lease in box. Some commands of the scripts run only then.
func expireLease(r *rig, terms backends.Terms) {
	r.Helper()
	other := terms
	other.RunningTimeout = time.Millisecond
	r.create(other, box)
	r.claim(other, box, 1)
	r.until("the lease has expired, and only the record and the queue are left", func() bool {
		pending, err := r.b.HasPending(r.Context(), terms.Store, box)
		return pending && err == nil && len(r.dump()) == 2
	})
}

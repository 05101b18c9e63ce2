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

// smallestACL has the permissions that goredis needs, on the keys of its prefix. With pushACL and
// the channels of the prefix, waiters get wake-ups; without them, they poll. A Cluster also needs
// clusterACL, on every node. Without +command everything works, but go-redis tries COMMAND three
// times before each call.
const (
	smallestACL = "+eval +evalsha +exists +time +get +mget +set +setrange +pttl +pexpire +zadd " +
		"+zrem +zcount +zrangebyscore +zrevrangebyscore"
	tidyACL        = "+unlink" // without it an unused large payload expires
	pushACL        = "+publish +subscribe +unsubscribe +ping"
	clusterACL     = "+cluster|slots +command +zscore"
	clusterPushACL = "+spublish +ssubscribe +sunsubscribe +ping"
)

const (
	restrictedUser     = "restricted"
	restrictedPassword = "secret"
)

// restrict gives the restricted user only these rights, on the keys of a prefix and on no channel.
func restrict(t testing.TB, server *redistest.Server, prefix, rights string) {
	t.Helper()
	words := []any{"acl", "setuser", restrictedUser, "reset", "on", ">" + restrictedPassword,
		"~" + prefix + "*"}
	for right := range strings.FieldsSeq(rights) {
		words = append(words, right)
	}
	if err := server.Client(t).Do(t.Context(), words...).Err(); err != nil {
		t.Fatal(err)
	}
}

func restrictedClient(t testing.TB, server *redistest.Server) *redis.Client {
	return server.ClientWith(t, redis.Options{Username: restrictedUser,
		Password: restrictedPassword, PoolSize: 64})
}

func restrictedClusterClient(t testing.TB, c *redistest.Cluster) *redis.ClusterClient {
	return c.ClientWith(t, redis.ClusterOptions{Username: restrictedUser,
		Password: restrictedPassword})
}

func TestRestrictedUserPassesTheSuite(t *testing.T) {
	parallel(t)
	server := redistest.Start(t)
	restrict(t, server, "mine:", smallestACL)
	conformUnder(t, restrictedClient(t, server))
}

func TestRestrictedUserPassesTheSuiteOnCluster(t *testing.T) {
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	for _, server := range c.Nodes() {
		restrict(t, server, "mine:", smallestACL+" "+clusterACL)
	}
	conformUnder(t, restrictedClusterClient(t, c))
}

// conformUnder runs the suite without wake-ups, for which the smallest rights do not suffice.
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
	parallelOnCluster(t)
	c := redistest.StartPatientCluster(t)
	for _, server := range c.Nodes() {
		restrict(t, server, "mine:", smallestACL+" "+clusterACL+" "+clusterPushACL+" &mine:*")
	}
	checkWoken(t, restrictedClusterClient(t, c))
}

// checkWoken checks that a waiter gets a signal for a new request.
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
	case <-time.After(time.Minute):
		t.Error("no signal came")
	}
}

func TestRestrictedUserReachesNoOtherKeys(t *testing.T) {
	server := redistest.Start(t)
	restrict(t, server, "mine:", smallestACL)
	r := newRig(t, restrictedClient(t, server)) // has another prefix
	for _, step := range r.steps(question(lasting("s"), box)) {
		if err := step.call(t.Context()); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s: got %v, want NOPERM", step.name, err)
		}
	}
}

func TestRestrictedUserIsToldOfEachMissingRight(t *testing.T) {
	parallel(t)
	for right := range strings.FieldsSeq(smallestACL) {
		t.Run(right, func(t *testing.T) {
			server := redistest.Start(t)
			full := newRig(t, server.Client(t))
			rights := strings.Replace(smallestACL+" ", right+" ", "", 1) + tidyACL
			restrict(t, server, full.prefix, rights)
			opts := &goredis.Options{Prefix: full.prefix}
			restricted := &rig{T: t, b: newBackend(t, restrictedClient(t, server), opts)}
			refused := checkRefused(t, full, restricted, right)
			full.reset(nil)
			full.large, restricted.large = true, true
			if refused += checkRefused(t, full, restricted, right); refused == 0 {
				t.Errorf("no call needs %s", right)
			}
		})
	}
}

// halfDone are the rights that a script may first need after its first write. Without one of these
// rights a script fails in the middle. A claimed request is then no longer in the queue, and times
// out. A large answer stays for as long as its record would have lived. Therefore Check tries all
// commands before a program begins.
var halfDone = []string{"+set", "+setrange", "+pttl", "+pexpire", "+zadd"}

// checkRefused makes all calls for a request. The restricted user tries each call first. The call
// either succeeds, or fails with the missing right and changes no key. CheckRefused returns the
// number of refused calls.
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
		command := strings.TrimPrefix(right, "+")
		if !strings.Contains(strings.ToLower(err.Error()), command) {
			t.Fatalf("%s: got %v, want an error that names %s", step.name, err, command)
		}
		if after := full.dump(); !maps.Equal(before, after) && !slices.Contains(halfDone, right) {
			t.Errorf("%s failed but changed a key: %d keys before, %d after",
				step.name, len(before), len(after))
		}
		full.reset(before)
		if err := able[i].call(t.Context()); err != nil {
			t.Fatalf("%s by a user with all rights: %v", step.name, err)
		}
	}
	return refused
}

// expireLease leaves an expired lease in box. Some commands of the scripts run only with one.
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

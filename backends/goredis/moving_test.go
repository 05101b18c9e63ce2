package goredis_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/redistest"
)

// moving is a mailbox of a Cluster whose slot moves from one node to another.
type moving struct {
	*rig
	cluster        *redistest.Cluster
	mailbox        string
	source, target *redis.Client
}

// in returns a copy for one test and mailbox.
func (m moving) in(t *testing.T, mailbox string) *moving {
	m.rig, m.mailbox = newRig(t, m.cluster.Client(t)), mailbox
	return &m
}

// begin begins to move the slot. It moves the keys of these kinds, such as "/p/". Others stay.
func (m *moving) begin(kinds ...string) {
	m.Helper()
	from, to := m.cluster.Masters[0], m.cluster.Masters[1]
	m.source, m.target = m.startMoving(slotOf(m.mailbox), from, to)
	for _, key := range m.keysAt(m.source) {
		for _, kind := range kinds {
			if strings.Contains(key, kind) {
				m.moveKeys(m.source, to.Addr, []string{key})
			}
		}
	}
}

func (m *moving) keysAt(node *redis.Client) []string {
	return node.ClusterGetKeysInSlot(m.Context(), slotOf(m.mailbox), 100).Val()
}

func (m *moving) finish() {
	m.Helper()
	m.migrate(m.cluster, slotOf(m.mailbox), m.cluster.Masters[0], m.cluster.Masters[1])
}

// lives returns the time to live of the only key of a kind, on either node.
func (m *moving) lives(kind string) time.Duration {
	m.Helper()
	for _, node := range []*redis.Client{m.source, m.target} {
		for _, key := range m.keysAt(node) {
			if strings.Contains(key, kind) {
				// With ASKING a node answers for a key that it has while the slot moves.
				ttl := redis.NewDurationCmd(m.Context(), time.Millisecond, "pttl", key)
				pipe := node.Pipeline()
				_ = pipe.Do(m.Context(), "asking")
				_ = pipe.Process(m.Context(), ttl)
				_, _ = pipe.Exec(m.Context())
				return ttl.Val()
			}
		}
	}
	m.Fatalf("there is no key with %s", kind)
	return 0
}

// partsOf are the kinds of keys that have moved to the new node.
var partsOf = map[string][]string{
	"payload first": {"/p/"}, "payload last": {"/r/", "/q/", "/c/"}, "record first": {"/r/"},
	"record last": {"/p/", "/q/", "/c/"}, "queue first": {"/q/"}, "none yet": {},
	"all": {"/p/", "/r/", "/q/", "/c/"},
}

// longer are terms by which a request lives longer than by its creator's terms.
func longer() backends.Terms {
	terms := lasting("s")
	terms.RunningTimeout, terms.Retention = 5*time.Hour, 5*time.Hour
	return terms
}

func (m *moving) giveUp(id string) error {
	c := gaveUp(longer(), id)
	c.Mailbox = m.mailbox
	_, err := m.b.Cancel(m.Context(), c)
	return err
}

func (m *moving) cancelWithGrace(id string) error {
	c := gaveUp(longer(), id)
	c.Mailbox, c.Grace = m.mailbox, time.Hour
	_, err := m.b.Cancel(m.Context(), c)
	return err
}

func (m *moving) extendLonger(id string) error {
	e := backends.Extend{Terms: longer(), ID: id, Attempt: 1, Mailbox: m.mailbox}
	_, err := m.b.Extend(m.Context(), e)
	return err
}

// While the slot of a request with a large payload moves, a call happens wholly or not at all.
func TestClusterCallsAreAllOrNothingWhileALargePayloadMoves(t *testing.T) {
	parallelOnCluster(t)
	calls := map[string]func(m *moving, id string) error{
		"give up": (*moving).giveUp, "cancel with a grace": (*moving).cancelWithGrace,
		"extend": (*moving).extendLonger}
	all := moving{cluster: redistest.StartPatientCluster(t)}
	mailboxes := mailboxesOf(0, len(partsOf)*len(calls))
	for name, kinds := range partsOf {
		for callName, call := range calls {
			mailbox := mailboxes[0]
			mailboxes = mailboxes[1:]
			t.Run(callName+", "+name, func(t *testing.T) { all.in(t, mailbox).check(kinds, call) })
		}
	}
}

// check makes a call on a running request while its slot moves.
func (m *moving) check(kinds []string, call func(m *moving, id string) error) {
	m.Helper()
	c := large(lasting("s"), m.mailbox)
	if _, err := m.b.Create(m.Context(), c); err != nil {
		m.Fatal(err)
	}
	m.claim(c.Terms, m.mailbox, 1)
	m.begin(kinds...)
	before := m.lives("/r/")
	err := call(m, c.ID)
	record, payload := m.lives("/r/"), m.lives("/p/")
	if err != nil && (record-before).Abs() > time.Minute {
		m.Errorf("after %v the record lives for %v, want %v as before", err, record, before)
	}
	if (record - payload).Abs() > time.Minute {
		m.Errorf("after %v the record lives for %v, its payload for %v", err, record, payload)
	}
	m.finish()
	got := m.get("s", c.ID)
	if !bytes.Equal(got.Payload, c.Payload) {
		m.Errorf("got %d bytes, want %d", len(got.Payload), len(c.Payload))
	}
	if !got.Ended() && !m.queued() {
		m.Errorf("after %v the request is %s, but in no queue", err, got.Status)
	}
}

// queued reports whether the mailbox has a queue after its slot has moved.
func (m *moving) queued() bool {
	return strings.Contains(strings.Join(m.keysAt(m.target), " "), "/q/")
}

// A repeated claim gets the same requests or an error, wherever the slot's keys are.
func TestClusterRepeatsAClaimWhileItsSlotMoves(t *testing.T) {
	parallelOnCluster(t)
	all := moving{cluster: redistest.StartPatientCluster(t)}
	mailboxes := mailboxesOf(0, len(partsOf))
	for name, kinds := range partsOf {
		mailbox := mailboxes[0]
		mailboxes = mailboxes[1:]
		t.Run(name, func(t *testing.T) {
			m := all.in(t, mailbox)
			terms := lasting("s")
			m.create(terms, m.mailbox)
			poll := heartbeat(m.mailbox, 1, terms)
			if _, err := m.b.Claim(t.Context(), poll); err != nil {
				t.Fatal(err)
			}
			m.begin(kinds...)
			claimed, err := m.b.Claim(t.Context(), poll)
			if err == nil && len(claimed[0].Errs) == 0 && len(claimed[0].Records) == 0 {
				t.Error("got no request and no error, although the request runs")
			}
		})
	}
}

package goredis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/goredis"
	"github.com/pendingq/pendingq/internal/redistest"
)

// shard is a node of a Cluster. It knows only the commands of subscriptions.
type shard struct {
	lost  atomic.Value // a string: the node does not serve the slots of channels that contain it
	calls atomic.Int64 // how often a client has subscribed
	ends  sync.WaitGroup
}

// client returns a client of a Cluster with only this node.
func (s *shard) client(t *testing.T) *redis.ClusterClient {
	const addr = "127.0.0.1:1" // never dialled
	s.lost.Store("nothing")
	client := redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{End: redistest.Slots - 1,
				Nodes: []redis.ClusterNode{{Addr: addr}}}}, nil
		},
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			s.ends.Go(func() { s.serve(server) })
			return client, nil
		}})
	t.Cleanup(func() {
		client.Close()
		s.ends.Wait()
		<-time.After(time.Second) // go-redis still sleeps after a reload of the slots
	})
	return client
}

func (s *shard) serve(conn net.Conn) {
	defer conn.Close()
	replies := make(chan string, 100) // a client may write commands before it reads replies
	defer close(replies)
	s.ends.Go(func() {
		for reply := range replies {
			_, _ = io.WriteString(conn, reply)
		}
	})
	in := bufio.NewReader(conn)
	for words := readCommand(in); len(words) > 0; words = readCommand(in) {
		replies <- s.reply(words)
	}
}

// readCommand returns the words of a command, or nil at the end of the connection.
func readCommand(in *bufio.Reader) (words []string) {
	var count int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &count); err != nil {
		return nil
	}
	for range count {
		var length int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &length); err != nil {
			return nil
		}
		word := make([]byte, length+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil
		}
		words = append(words, string(word[:length]))
	}
	return words
}

func (s *shard) reply(words []string) string {
	name := strings.ToLower(words[0])
	switch {
	case name == "hello":
		return "-ERR unknown command\r\n" // then the client uses RESP2
	case name == "ping":
		return "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
	case name != "ssubscribe" && name != "sunsubscribe":
		return "+OK\r\n"
	case len(words) != 2: // the channels of a test have different slots
		return "-CROSSSLOT Keys in request don't hash to the same slot\r\n"
	}
	if name == "ssubscribe" {
		s.calls.Add(1)
		if strings.Contains(words[1], s.lost.Load().(string)) {
			return "-CLUSTERDOWN Hash slot not served\r\n"
		}
	}
	return fmt.Sprintf("*3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:1\r\n",
		len(name), name, len(words[1]), words[1])
}

// Two channels have no waiters any more. The Backend unsubscribes from them, and cuts no other
// subscription.
func TestClusterWaitersStaySubscribedWhenOthersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shard{}
		b := newBackend(t, s.client(t), &goredis.Options{PollInterval: patient})
		boxes := mailboxesOf(0, 3)
		signal, stop := b.WatchMailbox(t.Context(), boxes[0])
		defer stop()
		for _, mailbox := range boxes[1:] {
			_, leave := b.WatchMailbox(t.Context(), mailbox)
			leave()
		}
		checkUndisturbed(t, signal)
		if n := s.calls.Load(); n != 3 {
			t.Errorf("the Backend subscribed %d times, want 3", n)
		}
	})
}

// checkUndisturbed checks that a waiter gets no signal for five minutes.
func checkUndisturbed(t *testing.T, signal <-chan struct{}) {
	t.Helper()
	signals := 0
	for end := time.After(5 * time.Minute); ; signals++ {
		select {
		case <-signal:
			continue
		case <-end:
		}
		break
	}
	if signals > 0 {
		t.Errorf("the waiter got %d signals although nothing has changed", signals)
	}
}

// No node serves the slot of a mailbox. Its waiters poll, and waiters of other mailboxes keep their
// subscription.
func TestClusterWaitersOfALostSlotDoNotDisturbOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shard{}
		b := newBackend(t, s.client(t), &goredis.Options{PollInterval: patient})
		boxes := mailboxesOf(0, 2)
		s.lost.Store(backends.Partition(boxes[1]))
		signal, stop := b.WatchMailbox(t.Context(), boxes[0])
		defer stop()
		found, leave := b.WatchMailbox(t.Context(), boxes[1])
		defer leave()
		checkUndisturbed(t, signal)
		s.lost.Store("nothing")
		select {
		case <-found:
		case <-time.After(time.Minute):
			t.Error("a waiter got no signal although its slot is served again")
		}
	})
}

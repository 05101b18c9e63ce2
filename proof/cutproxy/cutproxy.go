// Package cutproxy is a proxy between a client and its Redis that loses replies. It forwards a
// command, reads the reply, and closes the connection instead of forwarding the reply. The client
// cannot know whether its command was executed.
//
//	proxy := cutproxy.New()
//	client := redis.NewClient(&redis.Options{Addr: addr, Dialer: proxy.Dial})
//	proxy.Cut(2, cutproxy.Scripts) // the next two replies to scripts are lost
//
// It parses the protocol just enough to separate commands and replies. Connections that subscribe
// must use version 3 of the protocol. One proxy serves any number of servers, so it also works for
// the client of a Cluster.
package cutproxy

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/calls"
)

// Rule reports whether to lose a reply to a command.
type Rule func(command [][]byte, reply []byte) bool

// Scripts is a Rule that loses the replies to all scripts, sent by their hash or in full.
func Scripts(command [][]byte, _ []byte) bool {
	return strings.HasPrefix(Name(command), "EVAL")
}

// Name returns the name of a command in upper case.
func Name(command [][]byte) string { return strings.ToUpper(string(command[0])) }

// Proxy loses replies. Make one with [New].
type Proxy struct {
	mu    sync.Mutex
	rule  Rule
	left  int // how many replies are still to be lost
	conns map[*conn]struct{}
	ended sync.WaitGroup

	cuts      atomic.Int64
	forwarded atomic.Int64

	gate sync.RWMutex // locked while replies are held back
}

// New returns a Proxy that forwards everything until Cut or Hold is called.
func New() *Proxy { return &Proxy{conns: map[*conn]struct{}{}} }

// Cut loses the next n replies for which the rule is true. It replaces an earlier Cut.
func (p *Proxy) Cut(n int, rule Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule, p.left = rule, n
}

// Left returns how many replies are still to be lost.
func (p *Proxy) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// Cuts returns how many replies have been lost so far.
func (p *Proxy) Cuts() int64 { return p.cuts.Load() }

// Forwarded returns how many scripts and GETs were sent to servers so far. It also counts those
// whose replies are lost.
func (p *Proxy) Forwarded() int64 { return p.forwarded.Load() }

// Hold keeps back the replies to scripts, and all later replies of the same connections, until
// release is called.
func (p *Proxy) Hold() (release func()) {
	p.gate.Lock()
	return sync.OnceFunc(p.gate.Unlock)
}

// cut reports whether to lose a reply.
func (p *Proxy) cut(command [][]byte, reply []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 || !p.rule(command, reply) {
		return false
	}
	p.left--
	p.cuts.Add(1)
	return true
}

// Dial connects to a server through the proxy. It is a Dialer for redis.Options.
func (p *Proxy) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	client, inner, err := socketPair()
	if err != nil {
		server.Close()
		return nil, err
	}
	p.serve(newConn(p, inner, server))
	return client, nil
}

// socketPair returns both ends of a TCP connection.
func socketPair() (outer, inner net.Conn, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	outer, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	inner, err = listener.Accept()
	if err != nil {
		outer.Close()
	}
	return outer, inner, err
}

func (p *Proxy) serve(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	p.ended.Go(c.forwardCommands)
	p.ended.Go(func() {
		c.forwardReplies()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	})
}

// Close closes all connections and waits for the end of the proxy's goroutines. Close the clients
// first, because Dial still accepts new connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	for c := range p.conns {
		c.close()
	}
	p.mu.Unlock()
	p.ended.Wait()
}

// Disturb makes a fault for the clients of the servers, and returns when the fault is over. The
// fault depends on turn modulo 5. For 0 the servers forget their scripts. For 1 they close all
// connections. For 2, 3 and 4 the proxy loses 1 to 4 replies.
func (p *Proxy) Disturb(turn int, servers ...*redis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, server := range servers {
		switch turn % 5 {
		case 0:
			_ = server.ScriptFlush(ctx).Err()
		case 1:
			_ = server.Do(ctx, "client", "kill", "type", "normal").Err()
		}
	}
	if turn%5 > 1 {
		p.Cut(1+rand.IntN(4), Scripts)
		calls.Await(time.Second, time.Millisecond, func() bool { return p.Left() == 0 })
		p.Cut(0, Scripts)
	}
}

package http_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// network connects callers to the API nodes. Each call goes to one node over a connection of its
// own. Some connections are cut after a number of bytes, in one of the two directions.
type network struct {
	transport *http.Transport
	calm      atomic.Bool // no more cuts

	mu   sync.Mutex
	cuts map[string]int // by the kind of call and the direction
}

// newNetwork makes a network that dials nodes by their numbers.
func newNetwork(dial func(ctx context.Context, node int) (net.Conn, error)) *network {
	n := &network{cuts: map[string]int{}}
	n.transport = &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			h := ctx.Value(hop{}).(hop)
			conn, err := dial(ctx, h.node)
			if err != nil {
				return nil, err
			}
			return &cutConn{Conn: conn, network: n, hop: h}, nil
		}}
	return n
}

// hop is the node of one call, and how many bytes pass in each direction before the cut.
type hop struct {
	node        int
	what        string // the kind of the call
	there, back int
}

// all is more bytes than any call has: the direction is not cut.
const all = 1 << 30

// The directions in which a call's connection is cut.
const (
	there = " cut on the way there"
	back  = " cut on the way back"
)

func (n *network) noteCut(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[what]++
}

func (n *network) cutsOf(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[what]
}

// cutConn is a connection that is cut once its bytes have passed.
type cutConn struct {
	net.Conn
	network *network
	hop     hop
}

var errCut = errors.New("the connection was cut")

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) <= c.hop.there {
		c.hop.there -= len(p)
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:c.hop.there])
	return n, errors.Join(err, c.cut(there))
}

// Read waits for bytes before it cuts, so that the node has handled the request.
func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n <= c.hop.back {
		c.hop.back -= n
		return n, err
	}
	return c.hop.back, c.cut(back)
}

func (c *cutConn) cut(way string) error {
	c.network.noteCut(c.hop.what + way)
	c.Conn.Close()
	return errCut
}

// caller makes calls through the network. It is an http.RoundTripper. If an answer is cut, it
// returns an error.
type caller struct {
	*network
	*dice
	nodes int
}

func (c *caller) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.transport.RoundTrip(r.WithContext(context.WithValue(r.Context(), hop{},
		c.route(r))))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// route decides which node a call goes to and whether it is cut.
func (c *caller) route(r *http.Request) hop {
	h := hop{node: c.upTo(c.nodes), what: nameOf(r), there: all, back: all}
	if c.calm.Load() {
		return h
	}
	const reach = 300 // bytes: into the body of most calls and answers
	switch c.upTo(10) {
	case 0:
		h.there = c.upTo(reach)
	case 1:
		h.back = c.upTo(reach)
	}
	return h
}

// nameOf returns the kind of a call, in words.
func nameOf(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/heartbeat"):
		return "heartbeat"
	case strings.HasSuffix(r.URL.Path, "/result"):
		return "report"
	case r.Method == http.MethodPost:
		return "create"
	}
	return "read"
}

// dice are a source of decisions that several goroutines may share.
type dice struct {
	mu     sync.Mutex
	source *rand.Rand
}

func newDice(seed, actor uint64) *dice { return &dice{source: rand.New(rand.NewPCG(seed, actor))} }

func (d *dice) upTo(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.source.IntN(n)
}

// listening is the address of a node.
type listening struct {
	net.Listener
	dial func(context.Context) (net.Conn, error)
}

// onLoopback listens on a port of this machine.
func onLoopback() (listening, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return listening{}, err
	}
	return listening{l, func(ctx context.Context) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", l.Addr().String())
	}}, nil
}

// onPipes listens in memory, where a bubble of testing/synctest sees each blocked goroutine.
func onPipes() (listening, error) {
	l := &pipes{incoming: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return listening{l, l.dial}, nil
}

type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
	close    func()
}

func (l *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.incoming <- server:
		return client, nil
	case <-l.closed:
		return nil, fmt.Errorf("connection refused: %w", net.ErrClosed)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-l.incoming:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.close()
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

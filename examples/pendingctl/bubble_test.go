package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// pipes is a network in memory, so that time can be fake. It has one address, and refuses
// connections until a server listens.
type pipes struct {
	listening bool
	conns     chan net.Conn
	closed    chan struct{}
	close     func()
}

const onlyURL = "http://127.0.0.1:1"

// onPipes runs a test on the fake clock. The program's connections are pipes.
func onPipes(t *testing.T, test func(t *testing.T, p *pipes)) {
	network := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = network })
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		p.close = sync.OnceFunc(func() { close(p.closed) })
		http.DefaultTransport = &http.Transport{DialContext: p.dial}
		test(t, p)
	})
}

// serve serves a handler until the test ends.
func (p *pipes) serve(t *testing.T, handler http.Handler) {
	server := &httptest.Server{Listener: p, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	p.listening = true
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if !p.listening {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error { p.close(); return nil }

// Addr implements [net.Listener].
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

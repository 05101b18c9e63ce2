package bench

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// StartProxy forwards connections to addr as a network whose round trip takes that long. The whole
// delay lies on the way to the server: two timers of half a millisecond would take a millisecond
// each. Data arrives in order, and any amount of it may be on its way. Stop waits until the clients
// have closed their connections.
func StartProxy(addr string, roundTrip time.Duration) (proxied string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil { // the listener is closed
				return
			}
			running.Go(func() { connect(client, addr, roundTrip) })
		}
	})
	return listener.Addr().String(), func() { listener.Close(); running.Wait() }, nil
}

// connect forwards a connection until either end closes it.
func connect(client net.Conn, addr string, delay time.Duration) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	var replies sync.WaitGroup
	replies.Go(func() {
		_, _ = io.Copy(client, server)
		client.Close()
	})
	forward(server, client, delay)
	server.Close()
	replies.Wait()
}

// forward copies what it reads, each part so long after it was read.
func forward(to io.Writer, from io.Reader, delay time.Duration) {
	type part struct {
		data []byte
		due  time.Time
	}
	parts := make(chan part, 4096)
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range parts {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data) // if it fails, the reply's direction ends the connection
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			break
		}
		parts <- part{bytes.Clone(buffer[:n]), time.Now().Add(delay)}
	}
	close(parts)
	writer.Wait()
}

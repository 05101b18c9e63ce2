package cutproxy

import (
	"bufio"
	"net"
	"strings"
	"sync"
)

// conn is one connection through the proxy.
type conn struct {
	proxy          *Proxy
	client, server net.Conn

	mu      sync.Mutex
	pending [][][]byte // commands that have been forwarded and not been answered
	cut     bool       // a reply has been lost: nothing more is forwarded
}

func newConn(p *Proxy, client, server net.Conn) *conn {
	return &conn{proxy: p, client: client, server: server}
}

func (c *conn) close() {
	c.client.Close()
	c.server.Close()
}

// forwardCommands passes the client's commands on until one of both hangs up.
func (c *conn) forwardCommands() {
	in, out := bufio.NewReader(c.client), bufio.NewWriter(c.server)
	for {
		raw, command, err := readCommand(in)
		if err != nil || !c.expect(command) {
			break
		}
		_, _ = out.Write(raw) // an error stays with out until Flush
		if in.Buffered() == 0 && out.Flush() != nil {
			break
		}
	}
	_ = out.Flush() // what has been expected has to be sent
	if !c.isCut() {
		c.close()
	}
}

// expect notes that a command is about to be forwarded, if it still may be.
func (c *conn) expect(command [][]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return false
	}
	if !strings.HasSuffix(Name(command), "SUBSCRIBE") { // these are answered by pushes
		c.pending = append(c.pending, command)
	}
	if Scripts(command, nil) || Name(command) == "GET" {
		c.proxy.forwarded.Add(1)
	}
	return true
}

func (c *conn) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// answered returns the command that a reply is for.
func (c *conn) answered() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	command := c.pending[0]
	c.pending = c.pending[1:]
	return command
}

// unanswered returns how many replies are yet to come.
func (c *conn) unanswered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// forwardReplies passes the server's replies on until one is to be lost, or one of both hangs up.
func (c *conn) forwardReplies() {
	defer c.close()
	in, out := bufio.NewReader(c.server), bufio.NewWriter(c.client)
	for {
		reply, err := readReply(in)
		if err != nil {
			return
		}
		if !isPush(reply) && c.loses(reply) {
			_ = out.Flush() // the replies before this one do arrive
			c.drain(in)
			return
		}
		_, _ = out.Write(reply)
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// loses matches a reply with its command, waits while replies are held back, and reports whether to
// lose it.
func (c *conn) loses(reply []byte) bool {
	command := c.answered()
	if Scripts(command, reply) {
		c.proxy.gate.RLock()
		defer c.proxy.gate.RUnlock()
	}
	return c.proxy.cut(command, reply)
}

// drain waits until the server has executed all that was forwarded, so that a command that is sent
// again never overtakes itself.
func (c *conn) drain(in *bufio.Reader) {
	c.mu.Lock()
	c.cut = true
	c.mu.Unlock()
	for c.unanswered() > 0 {
		reply, err := readReply(in)
		if err != nil {
			return
		}
		if !isPush(reply) {
			c.answered()
		}
	}
}

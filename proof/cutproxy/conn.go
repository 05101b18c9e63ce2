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
	pending [][][]byte // forwarded commands whose replies have not arrived
	cut     bool       // a reply was lost: nothing more is forwarded
}

func newConn(p *Proxy, client, server net.Conn) *conn {
	return &conn{proxy: p, client: client, server: server}
}

func (c *conn) close() {
	c.client.Close()
	c.server.Close()
}

// forwardCommands forwards the client's commands until the client or the server hangs up.
func (c *conn) forwardCommands() {
	in, out := bufio.NewReader(c.client), bufio.NewWriter(c.server)
	for {
		raw, command, err := readCommand(in)
		if err != nil || !c.expect(command) {
			break
		}
		_, _ = out.Write(raw) // Flush returns an earlier error
		if in.Buffered() == 0 && out.Flush() != nil {
			break
		}
	}
	_ = out.Flush() // the pending commands must be sent
	if !c.isCut() {
		c.close()
	}
}

// expect notes a command that is about to be forwarded. It returns false after a cut.
func (c *conn) expect(command [][]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return false
	}
	if !strings.HasSuffix(Name(command), "SUBSCRIBE") { // the replies to SUBSCRIBE are pushes
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

// answered removes and returns the command of the next reply.
func (c *conn) answered() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	command := c.pending[0]
	c.pending = c.pending[1:]
	return command
}

// unanswered returns how many replies have not arrived.
func (c *conn) unanswered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// forwardReplies forwards the server's replies until it loses one, or the client or the server
// hangs up.
func (c *conn) forwardReplies() {
	defer c.close()
	in, out := bufio.NewReader(c.server), bufio.NewWriter(c.client)
	for {
		reply, err := readReply(in)
		if err != nil {
			return
		}
		if !isPush(reply) && c.loses(reply) {
			_ = out.Flush() // the earlier replies are not lost
			c.drain(in)
			return
		}
		_, _ = out.Write(reply)
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// loses matches a reply with its command, waits while replies to scripts are held back, and reports
// whether to lose the reply.
func (c *conn) loses(reply []byte) bool {
	command := c.answered()
	if Scripts(command, reply) {
		c.proxy.gate.RLock()
		defer c.proxy.gate.RUnlock()
	}
	return c.proxy.cut(command, reply)
}

// drain stops the forwarding of commands, and waits until the server has executed the forwarded
// ones. So a retry of a command never overtakes its first try.
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

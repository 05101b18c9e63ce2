package skillshttp_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// pipeListener is a listener in memory. Its channel has the server's ends of the connections.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	if conn, ok := <-l; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error   { close(l); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// overPipe connects to a server in memory.
func overPipe(t *testing.T, server *http.Server) net.Conn {
	client, conn := net.Pipe()
	listener := make(pipeListener, 1)
	listener <- conn
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client
}

// A slow reader takes longer for an answer than a client may take to send a piece of a body.
func TestAConnectionWorksAfterASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSocketless(t)
		conn := overPipe(t, skillshttp.NewServer("", s.handler))
		asked := s.send("owner", "POST", api+"/ping", nil, 200)
		id, _ := asked["id"].(string)
		s.send("daemon-"+laptop, "POST", heartbeatPath, []byte(beat), 200)
		output := strings.Repeat("x", 100<<10)
		s.send("daemon-"+laptop, "POST", resultPath(laptop, "/ping", id),
			[]byte(`{"status":"completed","output":"`+output+`"}`), 200)

		answers := bufio.NewReader(conn)
		for range 2 {
			go func() {
				_, _ = io.WriteString(conn, "GET "+api+"/ping/"+id+" HTTP/1.1\r\nHost: x\r\n"+
					"Authorization: Bearer owner\r\n\r\n")
			}()
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			calls.Pass(15 * time.Second) // the answer is not read meanwhile
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusOK || err != nil ||
				!strings.Contains(string(body), output) {
				t.Errorf("got %d, %.80s, %v", resp.StatusCode, body, err)
			}
		}
	})
}

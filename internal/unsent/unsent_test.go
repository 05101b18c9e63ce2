package unsent_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pendingq/pendingq/internal/unsent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// single is a listener with one connection.
type single chan net.Conn

func (s single) Accept() (net.Conn, error) {
	if conn, ok := <-s; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (s single) Close() error {
	close(s)
	return nil
}

func (s single) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func TestARequestWithoutItsBodyIsAnsweredAndHoldsNoServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			unsent.Limit(w, r)
			_, _ = io.WriteString(w, "ok")
		}
		server := &http.Server{Handler: http.HandlerFunc(handler)}
		client, conn := net.Pipe()
		defer client.Close()
		listener := make(single, 1)
		listener <- conn
		go server.Serve(listener)
		_, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		_ = client.SetReadDeadline(time.Now().Add(time.Hour))
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if string(text) != "ok" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

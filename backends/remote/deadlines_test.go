package remote_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/unsent/unsenttest"
	"github.com/pendingq/pendingq/pending"
)

// pipes is a listener in memory, so that time can be fake.
type pipes struct {
	conns  chan net.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (p pipes) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p pipes) Close() error {
	p.cancel()
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// TestQuietStreamsEndInOrder reads streams that last a minute, in HTTP/1 and HTTP/2.
func TestQuietStreamsEndInOrder(t *testing.T) {
	for name, use := range map[string]func(*http.Protocols, bool){
		"HTTP/1": (*http.Protocols).SetHTTP1,
		"HTTP/2": (*http.Protocols).SetUnencryptedHTTP2,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var protocols http.Protocols
				use(&protocols, true)
				testQuietStreams(t, &protocols)
			})
		})
	}
}

func testQuietStreams(t *testing.T, protocols *http.Protocols) {
	b := memory.New()
	handler, err := remote.Handler(b, remote.Config{Stores: []pending.Policy{policy("s")},
		Access: everything{}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	p := pipes{conns: make(chan net.Conn)}
	p.ctx, p.cancel = context.WithCancel(t.Context())
	server := &http.Server{Handler: handler, Protocols: protocols}
	defer server.Close()
	go server.Serve(p)
	transport := &http.Transport{DialContext: p.DialContext, Protocols: protocols}
	defer transport.CloseIdleConnections()
	made, err := b.Create(t.Context(), question("s"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/watch", `{"mailboxes":["` + box + `"],"wait_ms":59000}`},
		{"GET", "/requests/" + made.ID + "/events?store=s", ""},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), c.method, "http://node"+c.path,
			strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer t")
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if lines := strings.Count(string(text), "\n"); err != nil || lines < 4 {
			t.Errorf("%s: got %q, %v", c.path, text, err)
		}
	}
}

// ServeMux answers such a request with a redirect. Before that, net/http reads the body.
func TestABodyOfARedirectHasADeadline(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	d := unsenttest.NewRecorder()
	r.server.ServeHTTP(d, httptest.NewRequest("POST", "//claim", strings.NewReader("{}")))
	if d.Code != http.StatusTemporaryRedirect || d.ReadBy.IsZero() {
		t.Errorf("got %d, read deadline %v", d.Code, d.ReadBy)
	}
}

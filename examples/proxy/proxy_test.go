package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo starts a server that answers with its name and the body of the request.
func echo(t *testing.T, name string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, name+string(body))
	}))
	t.Cleanup(server.Close)
	return server
}

// through starts a proxy and returns a function that posts a body to it.
func through(t *testing.T, servers ...string) func(body string) (int, string) {
	t.Helper()
	urls, err := parseServers(servers)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(newProxy(urls, slog.New(slog.DiscardHandler)))
	t.Cleanup(proxy.Close)
	return func(body string) (int, string) {
		t.Helper()
		response, err := proxy.Client().Post(proxy.URL+"/x", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
}

func TestEachRequestGoesToTheNextServer(t *testing.T) {
	post := through(t, echo(t, "a").URL, echo(t, "b").URL, echo(t, "c").URL)
	seen := map[string]int{}
	for range 6 { // over one connection
		_, text := post("!")
		seen[text]++
	}
	if seen["a!"] != 2 || seen["b!"] != 2 || seen["c!"] != 2 {
		t.Errorf("got %v, want two requests each", seen)
	}
}

func TestAServerThatIsDownIsPassedOver(t *testing.T) {
	const down = "http://127.0.0.1:1"
	post := through(t, echo(t, "a").URL, down, echo(t, "c").URL)
	for range 6 {
		if status, text := post("!"); status != http.StatusOK || text != "a!" && text != "c!" {
			t.Errorf("got %d %s", status, text)
		}
	}
	if status, _ := through(t, down)("!"); status != http.StatusBadGateway {
		t.Errorf("with all servers down: got %d", status)
	}
}

// A server that dies before it answers may have acted, so no other server gets the request.
func TestARequestThatBreaksOffIsNotSentTwice(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			conn.Close()
		}
	}()
	post := through(t, "http://"+listener.Addr().String(), echo(t, "other").URL)
	got := map[int]int{}
	for range 4 {
		status, _ := post("!")
		got[status]++
	}
	if got[http.StatusBadGateway] != 2 || got[http.StatusOK] != 2 {
		t.Errorf("got %v, want 502 for every other request", got)
	}
}

func TestTheProgram(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "X-Served-By"},
		{[]string{"-nonsense"}, 2, "Usage"},
		{nil, 2, "no servers"},
		{[]string{"ftp://x"}, 2, "ftp://x"},
		{[]string{"-listen", "nonsense", "http://x"}, 1, "nonsense"},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), tc.args, &stderr)
		if code != tc.code || !strings.Contains(stderr.String(), tc.says) {
			t.Errorf("%v: exit %d, want %d with %q\n%s", tc.args, code, tc.code, tc.says, &stderr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	quiet := slog.New(slog.DiscardHandler)
	err := serve(ctx, "127.0.0.1:0", http.NotFoundHandler(), quiet, func(string) { cancel() })
	if err != nil {
		t.Errorf("after a signal: got %v", err)
	}
}

package remote_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/remote"
)

// counted is a body that counts the bytes which were read.
type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (n int, err error) {
	n, err = c.Reader.Read(p)
	c.read += n
	return n, err
}

func (c *counted) Close() error { return nil }

// A broken proxy, or another server, may answer without end.
func TestAnAnswerIsBounded(t *testing.T) {
	const long, slack = 4 << 20, 1 << 10
	const limit = 1 << 20 // of clients on fake time
	for _, c := range []struct {
		name   string
		status int
		body   endless
		most   int // bytes that may be read
		says   string
	}{
		{"an answer", 200, endless{`{"id":"`, "x", `"}`, long}, limit, "MaxAnswer"},
		{"what follows an answer", 200, endless{`{"id":"1"}`, " ", ``, long}, limit, ""},
		{"a request that has ended", 409, endless{`{"code":"ended","error":"`, "x", `"}`, long},
			limit, "MaxAnswer"},
		{"a refusal", 401, endless{`{"error":"`, "x", `"}`, long}, 64 << 10, "401"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tries, body := 0, &counted{Reader: &c.body}
			onFakeTime(t, func(*http.Request) (*http.Response, error) {
				tries++
				return &http.Response{StatusCode: c.status, Status: fmt.Sprint(c.status),
					Body: body}, nil
			}, func(t *testing.T, client *remote.Client) {
				_, err := client.Create(t.Context(), question("s"))
				if c.says == "" && err != nil ||
					c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("got %v, want %q", err, c.says)
				}
			})
			if tries != 1 || body.read > c.most+slack {
				t.Errorf("%d tries, %d bytes read", tries, body.read)
			}
		})
	}
}

func TestARequestThatHasEndedMayBeLarge(t *testing.T) {
	r := newRig(t, newMemory(), nil)
	rec := r.running()
	end := completion("s", rec)
	end.Payload = []byte(`"` + strings.Repeat("x", 1<<19) + `"`)
	if _, err := r.client.End(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	_, err := r.client.Cancel(t.Context(), backends.Cancel{Terms: terms("s"), ID: rec.ID,
		Outcome: backends.StatusCancelled})
	ended, ok := errors.AsType[*backends.EndedError](err)
	if !ok || len(ended.Record.Payload) != len(end.Payload) {
		t.Errorf("got %v, want the request as it ended", err)
	}
}

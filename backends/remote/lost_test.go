package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/memory"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
)

// cutter loses answers after the server has acted: it waits for a whole answer, and returns an
// error instead, or the first bytes of its body.
type cutter struct {
	http.RoundTripper
	mu   sync.Mutex
	lose int // the number of answers still to lose
	part bool
	lost int
}

var errCut = errors.New("the connection was cut")

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.lose == 0 {
		return resp, err
	}
	c.lose--
	c.lost++
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil && c.part {
		resp.Body = &cutBody{text[:len(text)/2]}
		return resp, nil
	}
	return nil, errCut
}

type cutBody struct{ text []byte }

func (b *cutBody) Read(p []byte) (int, error) {
	if len(b.text) == 0 {
		return 0, errCut
	}
	n := copy(p, b.text)
	b.text = b.text[n:]
	return n, nil
}

func (b *cutBody) Close() error { return nil }

// The matrix in package proof loses answers of the operations that all backends have. These are the
// others.
var lossCases = map[string]func(context.Context, *remote.Client) (any, error){
	"many claims": func(ctx context.Context, c *remote.Client) (any, error) {
		var found []int
		results := c.ClaimMany(ctx, []backends.Claim{poll("s", "t"), poll("s")})
		for _, result := range results {
			for _, from := range result.Claimed {
				found = append(found, len(from.Records))
			}
		}
		return found, errors.Join(results[0].Err, results[1].Err)
	},
	"list": func(ctx context.Context, c *remote.Client) (any, error) {
		page, err := c.List(ctx, "s", box, "", 100)
		return len(page.Records), err
	},
	"mailboxes": func(ctx context.Context, c *remote.Client) (any, error) {
		var all []string
		after := ""
		for { // a page may be empty although others follow
			page, err := c.Mailboxes(ctx, "s", after, 1000)
			all = append(all, page.Mailboxes...)
			if after = page.Next; err != nil || after == "" {
				return all, err
			}
		}
	},
}

func TestALostAnswerIsHarmless(t *testing.T) {
	for name, do := range lossCases {
		t.Run(name, func(t *testing.T) {
			want := lose(t, &cutter{}, do)
			for _, cut := range []*cutter{{lose: 1}, {lose: 3}, {lose: 1, part: true}} {
				if diff := cmp.Diff(want, lose(t, cut, do)); diff != "" {
					t.Errorf("%d answers lost, in part: %v: %s", cut.lost, cut.part, diff)
				}
			}
		})
	}
}

// lose runs an operation while two requests are pending. It returns the result and the requests
// that are left.
func lose(t *testing.T, cut *cutter, do func(context.Context, *remote.Client) (any, error)) []any {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	cut.RoundTripper = transport
	r := newRig(t, memory.New(), nil)
	r.create()
	r.create()
	got, err := do(t.Context(), clientWith(t, r.url, &remote.Options{Token: "t", Logger: quiet,
		HTTP: &http.Client{Transport: cut}}))
	has, hasErr := r.client.HasPending(t.Context(), "s", box)
	if err != nil || hasErr != nil || cut.lose > 0 {
		t.Errorf("%v, %v; %d answers were not lost", err, hasErr, cut.lose)
	}
	return []any{got, has}
}

// A proxy refuses with a page for people: an expired token, a large body, too many requests.
func TestTheRefusalOfAProxyIsTheErrorThatCallersTest(t *testing.T) {
	for status, want := range map[int]error{401: remote.ErrUnauthorized, 403: remote.ErrForbidden,
		413: codec.ErrTooLarge, 429: remote.ErrTooMany, 404: nil} {
		var tries int
		onFakeTime(t, func(*http.Request) (*http.Response, error) {
			tries++
			return &http.Response{StatusCode: status, Status: fmt.Sprint(status),
				Body: io.NopCloser(strings.NewReader("<html>secret</html>"))}, nil
		}, func(t *testing.T, c *remote.Client) {
			_, err := c.Create(t.Context(), question("s"))
			wanted := want == nil && !errors.Is(err, backends.ErrNotFound) ||
				want != nil && errors.Is(err, want)
			if !wanted || !strings.Contains(err.Error(), fmt.Sprint(status)) ||
				strings.Contains(err.Error(), "secret") {
				t.Errorf("%d: got %v", status, err)
			}
			if again := status == 429; again != (tries > 1) {
				t.Errorf("%d: %d tries", status, tries)
			}
		})
	}
}

package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client is a [backends.Backend] over HTTP. Make one with [New].
type Client struct {
	base   string
	http   *http.Client
	token  string
	logger *slog.Logger
	waits  *waits
}

// Options change how a Client works. The zero value is right where no token is needed.
type Options struct {
	// Token is sent as "Authorization: Bearer TOKEN", to the host of the URL only.
	Token string

	// HTTP sends the requests. Its Transport may add other credentials. It should have no Timeout,
	// since the Client has its own. Default: one with connections of its own.
	HTTP *http.Client

	// Logger gets a debug line for each HTTP request that is repeated. Default: slog.Default()
	Logger *slog.Logger
}

const (
	answerTimeout = 20 * time.Second // until an answer begins, without the time for a large body
	largeTimeout  = time.Minute      // more, for a large body
	retryTime     = 30 * time.Second // no further try begins later than that
	minPause      = 50 * time.Millisecond
	maxPause      = 2 * time.Second
)

// New makes a Client of the server at a URL such as https://node.example/pending. Opts may be nil.
// It connects to nothing. Call Close when it is no longer used.
func New(baseURL string, opts *Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, errors.New("remote: the URL does not parse") // err may quote a secret
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "":
		return nil, errors.New("remote: the URL is not like https://node.example/pending")
	case u.User != nil:
		return nil, errors.New("remote: the URL has a user name: use Options.Token")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), token: o.Token,
		logger: cmp.Or(o.Logger, slog.Default())}
	if o.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64
		o.HTTP = &http.Client{Transport: transport}
	}
	own := *o.HTTP
	own.CheckRedirect = checkRedirect
	c.http = &own
	c.waits = newWaits(c)
	return c, nil
}

// Close ends all long polls, and closes idle connections.
func (c *Client) Close() {
	c.waits.close()
	c.http.CloseIdleConnections()
}

var errRedirect = errors.New("the server redirects to another host, which is refused")

// checkRedirect follows a redirect only to the host that was asked, over the same protocol.
func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if r.URL.Host != first.Host || r.URL.Scheme != first.Scheme || len(via) > 5 {
		return errRedirect
	}
	return nil
}

// operation is a call to send, and the function that reads its answer.
type operation struct {
	method, path string
	query        url.Values
	body         *body // nil: none
	read         func(*json.Decoder) error
}

// do runs an operation, again if its outcome is unknown.
func (c *Client) do(ctx context.Context, op operation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var text []byte
	if op.body != nil {
		var buf bytes.Buffer
		buf.Grow(int(op.body.size))
		_ = op.body.writeTo(&buf)
		text = buf.Bytes()
	}
	giveUp := time.Now().Add(retryTime)
	for try := 0; ; try++ {
		again, pause, err := c.try(ctx, op, text)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("remote: %s %s: %w", op.method, op.path, err)
		pause = max(pause, backOff(try))
		if !again || time.Now().Add(pause).After(giveUp) {
			return err
		}
		c.logger.Debug("repeat a request", "error", err, "pause", pause)
		if ctxErr := sleep(ctx, pause); ctxErr != nil {
			return fmt.Errorf("%w (%w)", ctxErr, err)
		}
	}
}

// backOff returns the pause after a number of tries. Half of the pause is random.
func backOff(try int) time.Duration {
	pause := min(maxPause, minPause<<min(try, 10))
	return pause/2 + rand.N(pause/2)
}

// sleep returns ctx's error if ctx ends first, or would.
func sleep(ctx context.Context, pause time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
		pause = time.Until(deadline)
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// try sends a request once. Again tells whether another try may succeed, after a pause at least.
func (c *Client) try(
	ctx context.Context, op operation, text []byte) (again bool, pause time.Duration, err error) {
	trying, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := answerTimeout
	if len(text) > smallBody {
		limit += largeTimeout
	}
	timer := time.AfterFunc(limit, cancel)
	defer timer.Stop()
	resp, err := c.send(trying, op, text)
	if err != nil {
		return ctx.Err() == nil && !errors.Is(err, errRedirect), 0, c.failure(ctx, err)
	}
	defer resp.Body.Close()
	timer.Reset(largeTimeout) // for the answer itself
	if resp.StatusCode == http.StatusOK {
		err = op.read(json.NewDecoder(resp.Body))
		if err != nil {
			return ctx.Err() == nil, 0, c.failure(ctx, fmt.Errorf("read the answer: %w", err))
		}
		_, _ = io.Copy(io.Discard, resp.Body) // a line end, so that the connection is used again
		return false, 0, nil
	}
	return refusal(resp)
}

// failure returns ctx's error if ctx has ended, and err otherwise.
func (c *Client) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// send sends a request. Its error has no URL, since that names a mailbox.
func (c *Client) send(
	ctx context.Context, op operation, text []byte) (*http.Response, error) {
	target := c.base + op.path
	if len(op.query) > 0 {
		target += "?" + op.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, op.method, target, bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	if len(text) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if len(text) > smallBody {
		r.Header.Set("Expect", "100-continue") // the server may refuse before it takes the body
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return resp, err
}

// refusal returns the error of an answer, whether another try may succeed, and after which pause.
func refusal(resp *http.Response) (again bool, pause time.Duration, err error) {
	var answer errorAnswer
	err = json.NewDecoder(resp.Body).Decode(&answer)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(net.Error)) {
		return true, 0, fmt.Errorf("read the answer, which is %s: %w", resp.Status, err)
	}
	if err != nil || answer.Code == "" {
		err = fmt.Errorf("the answer is %s, and not one of package remote", resp.Status)
	} else {
		err = answer.decode()
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	again = resp.StatusCode >= http.StatusInternalServerError || answer.Code == "too_many" ||
		answer.Code == "slow_body"
	again = again && answer.Code != "unsupported" && answer.Code != "corrupt"
	return again, time.Duration(seconds) * time.Second, err
}

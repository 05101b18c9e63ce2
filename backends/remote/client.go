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
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pendingq/pendingq/internal/poll"
)

// Client is a [backends.Backend] over HTTP. Make one with [New].
type Client struct {
	base   string
	http   *http.Client
	token  string
	most   int64 // bytes of an answer
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

	// MaxAnswer is how many bytes an answer can have. To be safe it should be half of the server's
	// MaxInFlight: a page or a claim may fill a quarter of that, and base64 takes a third more.
	// Default: 128 MiB.
	MaxAnswer int64

	// Logger gets a debug line for each HTTP request that is repeated. Default: slog.Default()
	Logger *slog.Logger
}

const (
	answerTimeout = 20 * time.Second // until an answer begins, without the time for a large body
	largeTimeout  = time.Minute      // more, for a large body
	retryTime     = 30 * time.Second // no further try begins later than that
	minPause      = 50 * time.Millisecond
	maxPause      = 2 * time.Second
	maxRefusal    = 64 << 10 // bytes of a refusal without a request
	longestAfter  = 60       // seconds of a Retry-After: a proxy may say a day
)

// New makes a Client of the server at a URL such as https://node.example/pending. Opts may be nil.
// It connects to nothing. Call Close when it is no longer used.
func New(baseURL string, opts *Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, errors.New("remote: the URL does not parse") // err may quote a secret
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" ||
		u.ForceQuery || u.Fragment != "":
		return nil, errors.New("remote: the URL is not like https://node.example/pending")
	case u.User != nil:
		return nil, errors.New("remote: the URL has a user name: use Options.Token")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if strings.ContainsFunc(o.Token, unicode.IsControl) {
		return nil, errors.New("remote: Options.Token has a line break or a control character")
	}
	if o.MaxAnswer < 0 {
		return nil, errors.New("remote: Options.MaxAnswer is negative")
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), token: o.Token,
		most: cmp.Or(o.MaxAnswer, 128<<20), logger: cmp.Or(o.Logger, slog.Default())}
	if o.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 64
		o.HTTP = &http.Client{Transport: transport}
	}
	c.http = poll.Client(o.HTTP)
	c.waits = newWaits(c)
	return c, nil
}

// Close ends all long polls. It also closes the idle connections of Options.HTTP. If that has no
// Transport of its own, these are the ones of [http.DefaultTransport].
func (c *Client) Close() {
	c.waits.close()
	c.http.CloseIdleConnections()
}

// operation is a call to send.
type operation struct {
	method, path string
	query        url.Values
	body         []byte
}

// ask runs an operation, again if its outcome is unknown.
func ask[T any](ctx context.Context, c *Client, op operation) (none T, err error) {
	if err := ctx.Err(); err != nil {
		return none, err
	}
	giveUp := time.Now().Add(retryTime)
	for try := 0; ; try++ {
		var answer T
		again, pause, err := c.try(ctx, op, &answer)
		if err == nil {
			return answer, nil
		}
		err = fmt.Errorf("remote: %s %s: %w", op.method, op.path, err)
		pause = max(pause, poll.Jitter(poll.Pause(try, minPause, maxPause)))
		if !again || time.Now().Add(pause).After(giveUp) {
			return none, err
		}
		c.logger.Debug("repeat a request", "error", err, "pause", pause)
		if ctxErr := poll.Sleep(ctx, pause); ctxErr != nil {
			return none, fmt.Errorf("%w (%w)", ctxErr, err)
		}
	}
}

// try sends a request once and reads the answer. Again tells whether another try may succeed, after
// a pause at least.
func (c *Client) try(
	ctx context.Context, op operation, answer any) (again bool, pause time.Duration, err error) {
	trying, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := answerTimeout
	if len(op.body) > smallBody {
		limit += largeTimeout
	}
	timer := time.AfterFunc(limit, func() { cancel(errNoAnswer) })
	defer timer.Stop()
	resp, err := c.send(trying, op)
	if err != nil {
		err = cmp.Or(ctx.Err(), context.Cause(trying), err)
		return ctx.Err() == nil && !errors.Is(err, poll.ErrRedirect), 0, err
	}
	defer resp.Body.Close()
	timer.Reset(largeTimeout) // for the answer itself
	if resp.StatusCode != http.StatusOK {
		return c.refusal(resp)
	}
	if err := c.read(resp, answer); err != nil {
		err = cmp.Or(ctx.Err(), context.Cause(trying), err)
		again = ctx.Err() == nil && !errors.Is(err, errLargeAnswer)
		return again, 0, fmt.Errorf("read the answer: %w", err)
	}
	return false, 0, nil
}

// read decodes an answer. It reads the answer to its end, so that the connection is used again.
func (c *Client) read(resp *http.Response, answer any) error {
	body := http.MaxBytesReader(nil, resp.Body, c.most)
	err := json.NewDecoder(body).Decode(answer)
	if errors.As(err, new(*http.MaxBytesError)) {
		return fmt.Errorf("%w of %d bytes", errLargeAnswer, c.most)
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, body)
	}
	return err
}

// send sends a request. Its error has no URL, since that names a mailbox.
func (c *Client) send(ctx context.Context, op operation) (*http.Response, error) {
	target := c.base + op.path
	if len(op.query) > 0 {
		target += "?" + op.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, op.method, target, bytes.NewReader(op.body))
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	if len(op.body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if len(op.body) > smallBody {
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

// proxyCodes are the codes of refusals that a proxy makes before the server sees a request. A 404
// may mean that the URL is wrong, so it says nothing about a request.
var proxyCodes = map[int]string{http.StatusUnauthorized: "unauthorized",
	http.StatusForbidden: "forbidden", http.StatusRequestTimeout: "slow_body",
	http.StatusRequestEntityTooLarge: "too_large", http.StatusTooManyRequests: "too_many"}

// refusal returns the error of an answer, whether another try may succeed, and after which pause.
func (c *Client) refusal(resp *http.Response) (again bool, pause time.Duration, err error) {
	mayHaveRequest := resp.StatusCode == http.StatusConflict
	if !mayHaveRequest {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxRefusal)
	}
	var f failure
	err = c.read(resp, &f)
	if mayHaveRequest && errors.Is(err, errLargeAnswer) {
		return false, 0, fmt.Errorf("read the answer, which is %s: %w", resp.Status, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(net.Error)) {
		return true, 0, fmt.Errorf("read the answer, which is %s: %w", resp.Status, err)
	}
	again = resp.StatusCode >= http.StatusInternalServerError
	if err != nil || f.Code == "" {
		f = failure{Code: proxyCodes[resp.StatusCode]}
		f.Error = fmt.Sprintf("%s, without a code of package remote", resp.Status)
	}
	if err = f.decode(); f.Code == "" {
		err = fmt.Errorf("the answer is %s", f.Error)
	}
	for _, c := range codes {
		if c.name == f.Code {
			again = c.again
		}
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0 if it is missing, or a date
	return again, time.Duration(min(max(seconds, 0), longestAfter)) * time.Second, err
}

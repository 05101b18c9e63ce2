package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pendingq/pendingq/internal/poll"
	"github.com/pendingq/pendingq/skills/wire"
)

const (
	callTimeout   = 30 * time.Second // of a heartbeat, beyond its wait
	reportTimeout = 90 * time.Second // of a report, which may be large
	maxAnswer     = 1 << 20          // bytes
)

// statusError is an answer other than 200.
type statusError struct {
	status     int
	text       string        // the text of the server's refusal
	retryAfter time.Duration // 0 if the server does not say
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.status, e.text)
}

// definite reports whether asking again would get the same answer.
func definite(err error) bool {
	var refusal *statusError
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return refusal.status >= 400 && refusal.status < 500
}

// post sends a body and reads an answer, both in JSON. Its error is a statusError, errUnreadable,
// or an error of the network.
func (d *Daemon) post(ctx context.Context, timeout time.Duration, path string, body, answer any) (
	http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(
		ctx, http.MethodPost, d.config.Server+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if d.config.Token != "" {
		r.Header.Set("Authorization", "Bearer "+d.config.Token)
	}
	resp, err := d.config.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, newStatusError(resp, got)
	}
	if json.Unmarshal(got, answer) != nil { // the error of Unmarshal may quote a secret
		return nil, errUnreadable
	}
	return resp.Header, nil
}

// errUnreadable is the error for an answer that is not the JSON that the daemon expects.
var errUnreadable = errors.New("the server's answer is not the expected JSON")

func newStatusError(resp *http.Response, body []byte) error {
	var refusal wire.Refusal
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		refusal.Error = http.StatusText(resp.StatusCode)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0 if it is missing, or a date
	after := time.Duration(min(max(seconds, 0), 3600)) * time.Second
	return &statusError{resp.StatusCode, refusal.Error, after}
}

// heartbeat asks for work. Its claim id makes it repeatable. Failed means that the server could not
// look for work. With an error there is no work: an unreadable answer may be decoded in part.
func (d *Daemon) heartbeat(ctx context.Context, claimID string, batch bool, wait time.Duration) (
	a wire.Assignments, failed bool, err error) {
	path, timeout := "/api/daemon/heartbeat", callTimeout
	if wait > 0 {
		path, timeout = path+"?wait="+url.QueryEscape(wait.String()), wait+callTimeout
	}
	body := wire.Heartbeat{
		RuntimeID: d.config.RuntimeID, SupportsBatchImport: batch, ClaimID: claimID}
	header, err := d.post(ctx, timeout, path, body, &a)
	if err != nil {
		return wire.Assignments{}, false, err
	}
	return a, header.Get(wire.ClaimFailed) != "", nil
}

// reportPauses are the pauses before each attempt to report.
var reportPauses = []time.Duration{0, 500 * time.Millisecond, 2 * time.Second, 4 * time.Second}

// report reports on a request. It retries unless the server's refusal is definite.
func (d *Daemon) report(ctx context.Context, kind, id string, body any) (err error) {
	path := "/api/daemon/runtimes/" + wire.PathSegment(d.config.RuntimeID) + kind + "/" +
		wire.PathSegment(id) + "/result"
	for _, pause := range reportPauses {
		if err := poll.Sleep(ctx, pause); err != nil {
			return err
		}
		var taken struct{}
		if _, err = d.post(ctx, reportTimeout, path, body, &taken); err == nil || definite(err) {
			return err
		}
	}
	return err
}

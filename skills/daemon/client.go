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

	"github.com/pendingq/pendingq/skills/skillshttp"
)

const (
	callTimeout = 30 * time.Second // of a call that is not held
	maxAnswer   = 1 << 20          // bytes
)

// statusError is an answer other than 200.
type statusError struct {
	status     int
	text       string        // the server's
	retryAfter time.Duration // 0 if the server does not say
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.status, e.text)
}

// definite reports whether asking again would get the same answer.
func definite(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status >= 400 && status.status < 500 && status.status != http.StatusTooManyRequests
}

// post sends a body and reads an answer, both JSON. Its error is a statusError, or one of the network.
func (d *Daemon) post(ctx context.Context, timeout time.Duration, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.config.Server+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if d.config.Token != "" {
		r.Header.Set("Authorization", "Bearer "+d.config.Token)
	}
	resp, err := d.config.Client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return newStatusError(resp, got)
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return fmt.Errorf("the server's answer is not the JSON that is expected here: %w", err)
	}
	return nil
}

func newStatusError(resp *http.Response, body []byte) error {
	var refusal struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		refusal.Error = http.StatusText(resp.StatusCode)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0 for what is not there, or a date
	return &statusError{resp.StatusCode, refusal.Error, time.Duration(max(seconds, 0)) * time.Second}
}

// heartbeat asks for work, with a claim id that makes it repeatable.
func (d *Daemon) heartbeat(ctx context.Context, claimID string, batch bool) (a skillshttp.Assignments, err error) {
	path, timeout := "/api/daemon/heartbeat", callTimeout
	if d.config.Wait > 0 {
		path, timeout = path+"?wait="+url.QueryEscape(d.config.Wait.String()), d.config.Wait+callTimeout
	}
	body := skillshttp.Heartbeat{RuntimeID: d.config.RuntimeID, SupportsBatchImport: batch, ClaimID: claimID}
	return a, d.post(ctx, timeout, path, body, &a)
}

// reportPauses are those before each attempt to report.
var reportPauses = []time.Duration{0, 500 * time.Millisecond, 2 * time.Second, 4 * time.Second}

// report reports about a request, several times if need be.
func (d *Daemon) report(ctx context.Context, kind, id string, body any) (err error) {
	path := "/api/daemon/runtimes/" + url.PathEscape(d.config.RuntimeID) + kind + "/" + url.PathEscape(id) + "/result"
	for _, pause := range reportPauses {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		var taken struct{}
		if err = d.post(ctx, callTimeout, path, body, &taken); err == nil || definite(err) {
			return err
		}
	}
	return err
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/pending/dashboard"
)

func TestTheDemoServesADashboardUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	go func() {
		o := options{listen: "127.0.0.1:0", metrics: "127.0.0.1:0"}
		quiet := slog.New(slog.DiscardHandler)
		ended <- serveDemo(ctx, o, quiet, func(at addresses) { ready <- at })
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	at := <-ready
	for url, part := range map[string]string{"http://" + at.api + "/": "backup",
		"http://" + at.metrics + "/metrics": "pendingq_operation_duration_seconds_bucket",
		"http://" + at.metrics + "/readyz":  "ok"} {
		var got string
		if !calls.Await(time.Minute, 10*time.Millisecond, func() bool { // until it has operations
			resp, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			page, err := io.ReadAll(resp.Body)
			got = fmt.Sprint(resp.Status, " with ", string(page), err)
			return err == nil && resp.StatusCode == http.StatusOK &&
				strings.Contains(string(page), part)
		}) {
			t.Errorf("%s: got %s; want %q", url, got, part)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAllDevicesOfTheDemoWorkExceptOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := newDemo(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		d.run(ctx, slog.New(slog.DiscardHandler))
		for _, p := range []string{demoBackups.Name, demoReboots.Name} {
			observed, _ := backends.As[*dashboard.Observed](d.backend)
			if f := observed.Figures(p); f.Created == 0 || f.Claimed == 0 || f.Ended == 0 {
				t.Errorf("%s: got %+v in the last minute, want creates, claims and ends", p, f)
			}
		}
		offline := d.devices[len(d.devices)-1]
		if waits, err := d.backups.HasPending(t.Context(), offline); err != nil || !waits {
			t.Errorf("got %v, %v; want backups that wait for %s", waits, err, offline)
		}
	})
}

package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheDemoServesADashboardUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- serveDemo(ctx, options{listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler),
			func(addr string) { ready <- addr })
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + <-ready + "/")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), "backup") {
		t.Errorf("got %s with %s, %v; want the overview", resp.Status, page, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDevicesOfTheDemoWorkButForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := newDemo(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		d.run(ctx, slog.New(slog.DiscardHandler))
		for _, p := range []string{demoBackups.Name, demoReboots.Name} {
			if f := d.backend.Figures(p); f.Created == 0 || f.Claimed == 0 || f.Ended == 0 {
				t.Errorf("%s: got %+v in the last minute, want that all of it happens", p, f)
			}
		}
		offline := d.devices[len(d.devices)-1]
		if waits, err := d.backups.HasPending(t.Context(), offline); err != nil || !waits {
			t.Errorf("got %v, %v; want backups that wait for %s", waits, err, offline)
		}
	})
}

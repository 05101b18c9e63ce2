package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// node is a server that runs, as the program would.
type node struct {
	*testing.T
	url, metrics string
	stop         context.CancelFunc
	ended        chan error
}

// startNode starts a server, which ends well with the test unless it has been stopped.
func startNode(t *testing.T, o options) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{T: t, stop: cancel, ended: make(chan error, 1)}
	ready := make(chan addresses, 1)
	go func() {
		n.ended <- serve(ctx, o, slog.New(slog.DiscardHandler), func(at addresses) { ready <- at })
	}()
	select {
	case at := <-ready:
		n.url, n.metrics = "http://"+at.api, "http://"+at.metrics
	case err := <-n.ended:
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		<-n.ended
	})
	return n
}

func someOptions(t *testing.T, redisURL string) options {
	return options{listen: "127.0.0.1:0", metrics: "127.0.0.1:0", redis: redisURL, prefix: "test:",
		skills: t.TempDir(), tokens: writeTokens(t, someTokens),
		stores: []pending.Policy{deviceBackups}}
}

func (n *node) send(token, method, path, body string) (int, map[string]any) {
	n.Helper()
	r, err := http.NewRequestWithContext(n.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		n.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		n.Fatalf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	return response.StatusCode, fields
}

const (
	importPath = "/api/runtimes/laptop/local-skills/import"
	beat       = `{"runtime_id":"laptop","supports_batch_import":true}`
)

func TestAnImportAcrossTwoNodes(t *testing.T) {
	importAcrossTwoNodes(t, someOptions(t, "redis://"+miniredis.RunT(t).Addr()))
}

func importAcrossTwoNodes(t *testing.T, o options) {
	t.Helper()
	one, two := startNode(t, o), startNode(t, o)

	if status, fields := one.send(adasToken, "POST", importPath, `{"skill_key":"k"}`); status != http.StatusServiceUnavailable {
		t.Errorf("before any heartbeat: got %d %v, want offline", status, fields)
	}
	two.send(laptopToken, "POST", "/api/daemon/heartbeat", beat)
	status, asked := one.send(adasToken, "POST", importPath, `{"skill_key":"k"}`)
	if status != http.StatusOK {
		t.Fatalf("got %d %v", status, asked)
	}
	two.send(laptopToken, "POST", "/api/daemon/heartbeat", beat)
	report := `{"status":"completed","skill":{"name":"n","content":"c","files":[{"path":"a/b","content":"x"}]}}`
	path := fmt.Sprintf("/api/daemon/runtimes/laptop/local-skills/import/%s/result", asked["id"])
	if status, fields := one.send(laptopToken, "POST", path, report); status != http.StatusOK {
		t.Fatalf("report: got %d %v", status, fields)
	}
	if _, done := two.send(adasToken, "GET", fmt.Sprint(importPath, "/", asked["id"], "?wait=20s"), ""); done["status"] != "completed" {
		t.Errorf("got %v", done)
	}
	if found, _ := filepath.Glob(filepath.Join(o.skills, "n-*", "*", "a", "b")); len(found) != 1 {
		t.Errorf("found %v, want the skill's file once", found)
	}
}

func TestHealth(t *testing.T) {
	server := miniredis.RunT(t)
	n := startNode(t, someOptions(t, "redis://"+server.Addr()))
	if status, fields := n.send("", "GET", "/healthz", ""); status != http.StatusOK || fields["status"] != "ok" {
		t.Errorf("got %d %v", status, fields)
	}
	server.SetError("LOADING")
	if status, fields := n.send("", "GET", "/healthz", ""); status != http.StatusServiceUnavailable || fields["status"] != "unavailable" {
		t.Errorf("without its backend: got %d %v", status, fields)
	}
	server.SetError("")
	alone := startNode(t, someOptions(t, ""))
	if status, _ := alone.send("", "GET", "/healthz", ""); status != http.StatusOK {
		t.Errorf("in memory: got %d", status)
	}
}

func TestADeletedRuntimeIsToldSo(t *testing.T) {
	n := startNode(t, someOptions(t, ""))
	if status, fields := n.send(goneToken, "POST", "/api/daemon/heartbeat", `{"runtime_id":"gone"}`); status != 404 || fields["error"] != "runtime not found" {
		t.Errorf("got %d %v", status, fields)
	}
}

func TestAShutdownAnswersThoseWhoWait(t *testing.T) {
	server := miniredis.RunT(t)
	n := startNode(t, someOptions(t, "redis://"+server.Addr()))
	answered := make(chan map[string]any, 1)
	go func() {
		_, fields := n.send(laptopToken, "POST", "/api/daemon/heartbeat?wait=30s", beat)
		answered <- fields
	}()
	for !server.Exists("test:presence:laptop") { // until it has begun
		<-time.After(time.Millisecond)
	}
	began := time.Now()
	n.stop()
	if fields := <-answered; fields["status"] != "ok" || time.Since(began) > 15*time.Second {
		t.Errorf("the one who waits got %v after %v", fields, time.Since(began))
	}
	err := <-n.ended
	n.ended <- nil
	if err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhoIsOnline(t *testing.T) {
	ctx := t.Context()
	check := func(p skillshttp.Presence, want bool) {
		t.Helper()
		if online, err := p.Online(ctx, "laptop"); online != want || err != nil {
			t.Errorf("%T: got %v, %v, want %v", p, online, err, want)
		}
	}
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	p := &redisPresence{client: client, prefix: "test:"}
	check(p, false)
	if err := p.Seen(ctx, "laptop"); err != nil {
		t.Fatal(err)
	}
	check(p, true)
	server.FastForward(onlineFor)
	check(p, false)

	synctest.Test(t, func(t *testing.T) {
		p := newMemoryPresence()
		check(p, false)
		_ = p.Seen(ctx, "laptop")
		<-time.After(onlineFor - time.Second)
		check(p, true)
		<-time.After(time.Second)
		check(p, false)
	})
}

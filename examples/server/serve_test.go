package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/pendingq/pendingq/internal/calls"
	"github.com/pendingq/pendingq/internal/postgrestest"
	"github.com/pendingq/pendingq/internal/redistest"
	"github.com/pendingq/pendingq/pending"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// node is a running server.
type node struct {
	*testing.T
	url, metrics string
	stop         context.CancelFunc
	ended        chan error
}

// startNode starts a server. The server ends with the test.
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
	return options{listen: "127.0.0.1:0", metrics: "127.0.0.1:0", backend: redisURL,
		prefix: "test:", skills: t.TempDir(), tokens: writeTokens(t, someTokens),
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

func TestAnImportOnACluster(t *testing.T) {
	address := redistest.StartPatientCluster(t).Nodes()[0].Addr
	importAcrossTwoNodes(t, someOptions(t, "redis://"+address+"?cluster=true"))
}

func TestAnImportBehindSentinel(t *testing.T) {
	address := redistest.StartSentinel(t).Sentinels[0].Addr
	importAcrossTwoNodes(t,
		someOptions(t, "redis://"+address+"?master_name="+redistest.MasterName))
}

func importAcrossTwoNodes(t *testing.T, o options) {
	t.Helper()
	one, two := startNode(t, o), startNode(t, o)

	const skillKey = `{"skill_key":"k"}`
	status, asked := one.send(adasToken, "POST", importPath, skillKey)
	if status != http.StatusServiceUnavailable {
		t.Errorf("before any heartbeat: got %d %v, want offline", status, asked)
	}
	two.send(laptopToken, "POST", "/api/daemon/heartbeat", beat)
	status, asked = one.send(adasToken, "POST", importPath, skillKey)
	if status != http.StatusOK {
		t.Fatalf("got %d %v", status, asked)
	}
	two.send(laptopToken, "POST", "/api/daemon/heartbeat", beat)
	report := `{"status":"completed",
		"skill":{"name":"n","content":"c","files":[{"path":"a/b","content":"x"}]}}`
	path := fmt.Sprintf("/api/daemon/runtimes/laptop/local-skills/import/%s/result", asked["id"])
	if status, fields := one.send(laptopToken, "POST", path, report); status != http.StatusOK {
		t.Fatalf("report: got %d %v", status, fields)
	}
	path = fmt.Sprint(importPath, "/", asked["id"], "?wait=20s")
	if _, done := two.send(adasToken, "GET", path, ""); done["status"] != "completed" {
		t.Errorf("got %v", done)
	}
	if found, _ := filepath.Glob(filepath.Join(o.skills, "n-*", "*", "a", "b")); len(found) != 1 {
		t.Errorf("found %v, want the skill's file once", found)
	}
}

func TestNodesShareAPostgreSQLDatabase(t *testing.T) {
	o := someOptions(t, "memory:")
	o.backend = postgrestest.Start(t).URL
	importAcrossTwoNodes(t, o)
	n := startNode(t, o) // the schema exists now
	if status, text := n.get(n.url + "/readyz"); status != http.StatusOK {
		t.Errorf("got %d %s", status, text)
	}
}

func TestBodiesThatNeverArriveKeepNoNodeFromShuttingDown(t *testing.T) {
	n := startNode(t, someOptions(t, "redis://"+miniredis.RunT(t).Addr()))
	for _, path := range []string{"/livez", "/dashboard/", "/pending//x", "//api"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", path)
		if err != nil {
			t.Fatal(err)
		}
	}
	n.send("", "GET", "/livez", "") // the server has most likely read the others, too
	n.stop()
	if err := <-n.ended; err != nil {
		t.Error(err)
	}
	n.ended <- nil // for the end of the test
}

func TestHealth(t *testing.T) {
	check := func(n *node, wantStatus int, want string) {
		t.Helper()
		status, fields := n.send("", "GET", "/healthz", "")
		if status != wantStatus || fields["status"] != want {
			t.Errorf("got %d %v, want %d %s", status, fields, wantStatus, want)
		}
	}
	server := miniredis.RunT(t)
	n := startNode(t, someOptions(t, "redis://"+server.Addr()))
	check(n, http.StatusOK, "ok")
	server.SetError("LOADING")
	check(n, http.StatusServiceUnavailable, "unavailable")
	server.SetError("")
	check(startNode(t, someOptions(t, "memory:")), http.StatusOK, "ok") // in memory
}

func TestTheDaemonOfADeletedRuntimeIsToldSo(t *testing.T) {
	n := startNode(t, someOptions(t, "memory:"))
	const beat = `{"runtime_id":"gone"}`
	status, fields := n.send(goneToken, "POST", "/api/daemon/heartbeat", beat)
	if status != http.StatusNotFound || fields["error"] != "runtime not found" {
		t.Errorf("got %d %v", status, fields)
	}
}

func TestAShutdownAnswersWaiters(t *testing.T) {
	server := miniredis.RunT(t)
	n := startNode(t, someOptions(t, "redis://"+server.Addr()))
	answered := make(chan map[string]any, 1)
	go func() {
		_, fields := n.send(laptopToken, "POST", "/api/daemon/heartbeat?wait=30s", beat)
		answered <- fields
	}()
	for !server.Exists("test:presence:laptop") { // until the heartbeat has arrived
		<-time.After(time.Millisecond)
	}
	began := time.Now()
	n.stop()
	if fields := <-answered; fields["status"] != "ok" || time.Since(began) > 15*time.Second {
		t.Errorf("the waiter got %v after %v", fields, time.Since(began))
	}
	err := <-n.ended
	n.ended <- nil
	if err != nil {
		t.Errorf("the server ended with %v", err)
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
		calls.Pass(time.Minute) // a heartbeat may be parked for so long
		check(p, true)
		calls.Pass(onlineFor - time.Minute)
		check(p, false)
	})
}

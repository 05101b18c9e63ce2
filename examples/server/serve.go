package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/pendingq/pendingq/backends"
	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/internal/unsent"
	"github.com/pendingq/pendingq/skills"
	"github.com/pendingq/pendingq/skills/skillshttp"
)

// shutdownTime is how long requests may take to finish after -drain. The server answers parked
// requests at once. The others are mostly reports whose bodies have not arrived yet.
const shutdownTime = 20 * time.Second

// addresses are where the server listens.
type addresses struct{ api, metrics string }

// serve serves until ctx ends, and calls ready once it listens.
func serve(ctx context.Context, o options, logger *slog.Logger, ready func(addresses)) error {
	access, err := readTokens(o.tokens)
	if err != nil {
		return &optionError{"tokens", err}
	}
	library, err := openLibrary(o.skills, logger)
	if err != nil {
		return &optionError{"skills", err}
	}
	shared, err := openBackend(ctx, o, logger)
	if err != nil {
		return cmp.Or(ctx.Err(), err) // a signal came before the backend answered
	}
	defer shared.close()
	b, metrics, err := instrument(shared.backend)
	if err != nil {
		return err
	}
	stores, err := skills.New(b)
	if err != nil {
		return err
	}
	handler, err := skillshttp.New(skillshttp.Config{Stores: stores, Access: access,
		Library: library, Presence: shared.presence, Catalogue: shared.catalogue, Logger: logger})
	if err != nil {
		return err
	}
	server, mux := skillshttp.NewServer(o.listen, handler), http.NewServeMux()
	mux.Handle("/", handler)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unsent.Limit(w, r) // also for the routes of this package, and redirects of the mux
		mux.ServeHTTP(w, r)
	})
	if err := addStores(b, o, stores.Policies(), access, logger, server, mux); err != nil {
		return err
	}
	h := &health{check: shared.check, logger: logger}
	h.routes(mux)
	n := &listeners{api: server, metrics: newMetricsServer(o.metrics, metrics, h), health: h,
		drain: o.drain, wait: handler.Wait, logger: logger}
	return n.serve(ctx, ready)
}

// addStores adds the routes for any store, and the dashboard.
func addStores(b backends.Backend, o options, p skills.Policies, a *access, logger *slog.Logger,
	server *http.Server, mux *http.ServeMux) error {
	stores, err := remote.Handler(b,
		remote.Config{Stores: o.stores, Access: deviceAccess{a}, Logger: logger})
	if err != nil {
		return badStores(err)
	}
	pages, err := newPages(b, o, p, a, logger)
	if err != nil {
		return badStores(err)
	}
	mux.Handle("/pending/", http.StripPrefix("/pending", stores))
	mux.Handle("/dashboard/", a.signIn(pages))
	server.RegisterOnShutdown(stores.Drain)
	server.RegisterOnShutdown(pages.Drain)
	return nil
}

// badStores returns an error about the stores, which the configuration file names.
func badStores(err error) error { return &optionError{"config", fmt.Errorf("stores: %w", err)} }

// listeners are the servers of a node.
type listeners struct {
	api     *http.Server
	metrics *http.Server // nil: none
	health  *health
	drain   time.Duration
	wait    func(context.Context) error // for the end of WebSockets; nil: there are none
	logger  *slog.Logger
}

// serve serves until ctx ends or a server fails. It closes the metrics server last.
func (n *listeners) serve(ctx context.Context, ready func(addresses)) error {
	ended := make(chan error, 2)
	var at addresses
	var err error
	if n.metrics != nil {
		if at.metrics, err = start(ctx, "metrics", n.metrics, ended); err != nil {
			return err
		}
		defer n.metrics.Close()
		n.logger.Info("metrics", "url", "http://"+at.metrics+"/metrics")
	}
	if at.api, err = start(ctx, "listen", n.api, ended); err != nil {
		return err
	}
	n.logger.Info("listening", "addr", at.api)
	ready(at)
	select {
	case err := <-ended:
		return errors.Join(err, n.api.Close())
	case <-ctx.Done():
	}
	n.logger.Info("shutting down", "drain", n.drain)
	n.health.leave(n.drain)
	return n.shutdown(context.WithoutCancel(ctx))
}

// start listens at the server's address, which comes from an option, and serves. If the server
// fails, ended gets the error.
func start(ctx context.Context, option string, server *http.Server, ended chan<- error) (
	string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", server.Addr)
	if err != nil {
		return "", &optionError{option, err}
	}
	addr := listener.Addr().String()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			ended <- fmt.Errorf("serve at %s: %w", addr, err)
		}
	}()
	return addr, nil
}

// shutdown lets requests and WebSockets finish for shutdownTime.
func (n *listeners) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	err := n.api.Shutdown(ctx)
	if err == nil && n.wait != nil {
		err = n.wait(ctx)
	}
	if err != nil {
		err = fmt.Errorf("close the connections of unfinished requests after %v: %w",
			shutdownTime, err)
		return errors.Join(err, n.api.Close())
	}
	return nil
}

// Proxy is a load balancer for demonstrations. It sends each HTTP request to the next of several
// API nodes, so that two steps in a row use different nodes. Any other load balancer works, too. It
// needs no sticky sessions.
//
//	go run ./examples/proxy -listen 127.0.0.1:8080 http://127.0.0.1:8081 http://127.0.0.1:8082
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

const usage = `Usage: proxy [flags] URL...

Sends each HTTP request to the next of the servers at these URLs. If a server refuses the
connection, the next one gets the request. If a server accepts a request but sends no answer, the
client gets 502, since the server may have acted. The header X-Served-By of an answer names the
server. The log has a line for each request, and one for its answer.

Exits with 0 after SIGINT or SIGTERM, with 1 if it could not serve, and with 2 for a wrong option.

`

func run(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	listen := flags.String("listen", "127.0.0.1:8080",
		"address to serve at; port 0 takes a free port, which the log names")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	servers, err := parseServers(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "proxy: %v; see proxy --help\n", err)
		return 2
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, *listen, newProxy(servers, logger), logger, func(string) {}); err != nil {
		fmt.Fprintf(stderr, "proxy: %v\n", err)
		return 1
	}
	return 0
}

func parseServers(args []string) ([]*url.URL, error) {
	if len(args) == 0 {
		return nil, errors.New("no servers are given")
	}
	var servers []*url.URL
	for _, arg := range args {
		u, err := url.Parse(arg)
		if err != nil || u.Scheme != "http" || u.Host == "" {
			return nil, fmt.Errorf("%q is not a URL such as http://127.0.0.1:8081", arg)
		}
		servers = append(servers, u)
	}
	return servers, nil
}

// shutdownTime is how long requests may take to finish after a signal.
const shutdownTime = 5 * time.Second

func serve(ctx context.Context, addr string, handler http.Handler, logger *slog.Logger,
	ready func(addr string)) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute}
	logger.Info("listening", "addr", listener.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	ready(listener.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // breaks off parked requests
	}
	<-ended //nolint:errcheck // it says that the server was shut down
	return nil
}

// Device makes backups behind NAT: it polls API nodes, such as examples/server, for requests.
//
//	PENDINGQ_TOKEN=... go run ./examples/device -server http://localhost:8080/pending -id laptop
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pendingq/pendingq/backends/remote"
	"github.com/pendingq/pendingq/codec"
	"github.com/pendingq/pendingq/pending"
)

// Backup is the question and the answer. A front end reads Done while the device works.
type Backup struct {
	Files int `json:"files"`
	Done  int `json:"done"`
}

func main() {
	url := flag.String("server", "http://localhost:8080/pending", "URL of the API nodes")
	id := flag.String("id", "laptop", "the mailbox of this device")
	lease := flag.Duration("lease", time.Minute, "how long a lease lasts, as on the server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := remote.New(*url, &remote.Options{Token: os.Getenv("PENDINGQ_TOKEN")})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	backups, err := pending.New(client, codec.JSON[Backup](), pending.Policy{Name: "backup",
		PendingTimeout: 10 * time.Minute, RunningTimeout: *lease, Retention: time.Hour,
		CancelGrace: 10 * time.Second, MaxAttempts: 3})
	if err != nil {
		log.Fatal(err)
	}
	run := func(ctx context.Context, c *pending.Claim[Backup]) error {
		// A later attempt continues after the last file.
		for ; c.Payload.Done < c.Payload.Files; c.Payload.Done++ {
			<-time.After(100 * time.Millisecond) // copies a file
			if err := backups.Progress(ctx, c); err != nil {
				return err // the request is cancelled, or the device shuts down
			}
		}
		return nil
	}
	worker, err := pending.NewWorker(*id, nil, pending.Handle(backups, run))
	if err == nil {
		err = worker.Run(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}

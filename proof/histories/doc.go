// Package histories shows three promises while many callers work concurrently and faults happen:
// no acknowledged effect is lost, no effect happens twice, and an ended request does not change.
// The faults are lost replies and closed connections. Servers also forget their scripts, are
// killed, and fail over.
//
// It runs backendtest.Histories on memory, on miniredis, on Redis, and on a Redis that is often
// killed. A Cluster whose masters fail over may lose the last effects of a master. Its histories
// allow this loss and no other: see failover_test.go. Package internal/history has the sessions,
// the model and the checks.
//
// # Run it
//
//	go test ./proof/histories
//	go test ./proof/histories -run '/^redis$' -v -ops 1000000 -faults 600 -timeout 30m
//	go test ./proof/histories -run /cluster -v -ops 1000000 -faults 500 -failovers 25 -timeout 30m
//
// # Read a failure
//
// After "no order explains" come the calls of one request, in the order in which they began. Each
// line has the start and the end in microseconds, the operation, and the record in the reply. Look
// for two lines that contradict each other. Every other failure names its rule and its request.
//
// # Add an operation
//
// See the README of folder proof.
//
// # Words
//
//	session, call, history, step, lossy   see package internal/history
//	fault       a failure between the backend and its storage
//	fail-over   a replica becomes the master: the old master hands over, or is killed
//	safe        received by the replica before its master died
//	at risk     acknowledged to a caller, but perhaps not received by the replica
package histories

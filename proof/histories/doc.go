// Package histories shows that nothing acknowledged is lost or done twice, and that ended is final,
// while many callers work at once and faults happen: replies are lost, connections close, servers
// forget their scripts, are killed, or fail over.
//
// It runs backendtest.Histories on memory, on miniredis, on Redis, and on a Redis that is killed
// again and again. A Cluster whose masters fail over may lose the last of what they did. So its
// histories allow that, and nothing else: see failover_test.go.
//
// # Run it
//
//	go test ./proof/histories
//	go test ./proof/histories -run '/^redis$' -v -ops 1000000 -faults 600 -timeout 30m
//	go test ./proof/histories -run '/^cluster$' -v -ops 1000000 -faults 500 -failovers 25 -timeout 30m
//
// # Read a failure
//
// "No order explains" is followed by the calls about one request, in the order in which they began:
// from when to when in microseconds, what was done, and the record that was answered. Look for two
// lines that contradict each other. Every other failure names its rule and its request.
//
// # Words
//
//	session, call, history, step, lossy   see package internal/history
//	fault       something that goes wrong between the backend and its storage
//	fail-over   a replica becomes the master: the old master hands over, or is killed
//	safe        what the replica had received before its master died
//	at risk     what a caller was told and the replica perhaps had not received
package histories

// Package http shows that the promises hold from end to end. Front ends and real daemons call three
// API nodes over connections that are cut, while nodes and daemons are killed. Every stored request
// has to end once and to read the same ever after. It goes out under one claim, to one call of a
// handler. A report that was answered counts. What the nodes did to their storage is checked like
// any other history.
//
// # Run it
//
//	go test ./proof/http
//	go test ./proof/http -run 'TestHTTP$' -v -ops 1000000 -faults 600 -timeout 30m
//	go test ./proof/http -run TestSoak -v -soak 10m -timeout 30m
//
// The last is without faults: 50 daemons and 100 front ends call one server, which may not grow.
//
// # Read a failure
//
// The log begins with the seed, and -seed makes the same decisions again. A failure shows what was
// last read of the request, the claims that handed it out and the reports about it. "Shows too
// little" means that a fault which has to be survived did not happen: run it longer.
//
// # Words
//
//	node        an API node: HTTP handlers, and a backend on the storage that all nodes share
//	laptop      a machine on which one daemon runs after the other
//	process     one daemon
//	front end   creates requests and reads them until they have ended
//	errand      a request as front ends and daemons saw it
//	deed        one call of a daemon's handler
//	word        what a handler answers; no other call answers the same
//	ledger      all errands and deeds
//	journal     all calls of the nodes to their storage
//	shelf       a node's access to the library of skills, which fails at times
//	hop         the way of one HTTP call: to which node, and after how many bytes it is cut
package http

// Package http shows that the promises hold from end to end. Front ends and real daemons call three
// API nodes over connections that are cut, while nodes and daemons are killed. Every stored request
// must end once, and must read the same from then on. One claim takes it, and one call of a handler
// gets it. A report that was answered is never lost. The nodes' calls to their storage are checked
// like any other history.
//
// # Run it
//
//	go test ./proof/http
//	go test ./proof/http -run 'TestHTTP$' -v -ops 1000000 -faults 600 -timeout 30m
//	go test ./proof/http -run TestSoak -v -soak 10m -timeout 30m
//
// TestSoak has no faults: 50 daemons and 100 front ends call one server, whose memory must not
// grow.
//
// # Read a failure
//
// The log begins with the seed. With -seed a run makes the same random decisions again. A failure
// shows the last read of the request, its claims and its reports. "Shows too little" means that an
// expected fault did not happen: run the test longer.
//
// # Words
//
//	node        an API node: HTTP handlers, and a backend on the storage that all nodes share
//	laptop      a machine on which daemons run, one after another
//	process     one run of a daemon
//	front end   creates requests and reads them until they have ended
//	errand      a request as front ends and daemons saw it
//	deed        one call of a daemon's handler
//	word        the answer of a handler, a different one for each call
//	ledger      all errands and deeds
//	journal     all calls of the nodes to their storage
//	shelf       a node's access to the library of skills, which fails at times
//	hop         the node of one HTTP call, and after how many bytes its connection is cut
package http

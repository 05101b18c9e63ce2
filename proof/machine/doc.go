// Package machine shows that all backends return the same results. It runs backendtest.Machine on
// miniredis, whose results agree with memory's to the microsecond, and on Redis. It also has a
// short test for each mistake that the state machine has found. Two fuzz tests try stored records
// of any bytes and mailboxes of any name.
//
// # Run it
//
//	go test ./proof/machine
//	go test ./proof/machine -run Machine -rapid.checks 3000 -timeout 30m
//	go test ./proof/machine -run '^$' -fuzz FuzzRecord -fuzztime 5m -fuzzminimizetime 10x
//	go test ./proof/machine -run '^$' -fuzz FuzzMailbox -fuzztime 5m -fuzzminimizetime 10x
//
// # Read a failure
//
// The state machine shows the shortest sequence of calls that it has found. At its end are the
// reply of memory ("want") and the reply of the other backend ("got").
//
// # Words
//
//	sequence    about 30 random calls, one after another
//	tick        10 ms of fake time: each call has its own tick
//	bubble      a group of goroutines with fake time: see package testing/synctest
//	planted     a record that was damaged on purpose
package machine

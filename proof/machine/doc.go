// Package machine shows that all backends return the same results. Its tests run
// backendtest.Machine, which compares a backend with memory, on miniredis and on Redis. On
// miniredis all times must agree to the microsecond. A short test repeats each mistake that the
// state machine has found. Two fuzz tests try stored records of any bytes and mailboxes of any
// name.
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

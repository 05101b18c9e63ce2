// Package machine shows that all backends answer alike. It runs backendtest.Machine on miniredis,
// where answers agree with those of memory to the microsecond, and on Redis. Beside it stand the
// mistakes that the state machine has found, each in as few steps as show it, and two fuzz tests:
// of stored records of any bytes, and of mailboxes of any name.
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
// The state machine shows the shortest sequence of calls that it has found, and at its end what
// memory answered ("want") and what the other backend did ("got").
//
// # Words
//
//	sequence    about 30 random calls, one after the other
//	tick        10 ms of fake time: each call has a tick of its own
//	bubble      where a test has fake time: see package testing/synctest
//	planted     a record that was damaged on purpose
package machine

// Package proof holds no code that anything imports. It answers the question "how do you know?": its tests show,
// with faults, that nothing acknowledged is lost, that nothing is done twice and that ended is final. RELIABILITY.md
// beside this file says which promise is shown by which test, and what a long run found.
//
//   - The lost-reply matrix (matrix_test.go): every operation, every reply of it, lost 0 to 4 times, by one server and by
//     a Cluster.
//   - Histories (history_test.go): many callers, several stores, injected faults; every request's history is checked
//     to be one that a single, never failing store could have given, and every mailbox's order. Where a Cluster's master
//     is killed (failover_test.go), they may lose the last of what it did and nothing else (loss_test.go).
//   - HTTP end to end (http_test.go): front ends and real daemons call several API nodes over connections that are cut,
//     while nodes and daemons are killed; every request ends once, is done at most once, and never reads differently.
//   - The state machine (machine_test.go): the same random calls to each backend have the same answers.
//   - Mutations (mutation_test.go): each guard, taken out in a copy of the module, makes a named test fail.
//   - Fuzzing (fuzz_test.go): stored records of any bytes, and mailboxes of any name.
//
// A short run is part of go test ./... and takes half a minute. The long ones:
//
//	go test ./proof -run 'Histories/^redis$' -ops 1000000 -faults 600 -timeout 30m
//	go test ./proof -run 'Histories/^cluster$' -ops 1000000 -faults 500 -failovers 20 -timeout 30m
//	go test ./proof -run HTTP -v -ops 1000000 -faults 600 -timeout 30m
//	go test ./proof -run Matrix -matrix matrix.md
//	go test ./proof -run Machine -rapid.checks 2000 -timeout 30m
//	go test ./proof -run Mutations -mutations -timeout 30m
//	go test ./proof -run '^$' -fuzz FuzzRecord -fuzztime 5m
package proof

// Package mutations shows that the tests would notice a mistake. A mutation takes one guard out of a
// backend, in a copy of the module. A named test has to fail there, and has to pass without the
// mutation.
//
// The line with the guard has a marker: a comment at its end, or alone on the line before it.
//
//	if redis.call('EXISTS', key) == 0 then -- mutation: staged
//	if e.rec.Attempt != end.Attempt { // mutation: attempt
//
// Several mutations of one line are separated by commas, and a remark may follow after a semicolon.
// In list_test.go each name has the line that replaces the marked one. So a line may be edited, and
// its mutation still applies. A test fails if a marker has no mutation, or a mutation no marker.
//
// # Run it
//
//	go test ./proof/mutations
//	go test ./proof/mutations -run 'Mutations$' -v -mutations 'cancel.lua' -timeout 60m
//	go test ./proof/mutations -run 'Mutations$' -v -mutations . -timeout 300m
//
// The flag -mutations is an expression for the file and the name, such as "memory/shard.go final".
//
// # Read a failure
//
// "Passes without this guard" means that no test needs the line: add a test, or remove the line.
// "Did not fail as a test does" means that the mutated line does not parse or compile: after an edit
// of the marked line, edit also what replaces it.
//
// # Words
//
//	guard       a line that keeps a promise
//	mutation    the guard taken out, or made wrong
//	marker      the comment that names the mutations of a line
//	caught      the test fails with the mutation, as it should
package mutations

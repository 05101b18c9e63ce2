// Package mutations shows that the tests notice mistakes. A mutation removes or changes one guard
// of a backend in a copy of its file. A certain test must fail with the copy and pass with the file
// itself.
//
// The line with the guard has a marker: a comment at its end, or alone on the line before.
//
//	if redis.call('EXISTS', key) == 0 then -- mutation: staged
//	if e.rec.Attempt != end.Attempt { // mutation: attempt
//	AND q.attempt = speaker -- mutation: extend-attempt
//
// Commas separate several names in one marker. A remark may follow after a semicolon. A name occurs
// once in a file. For each name list_test.go or postgres_test.go has the line that replaces the
// marked line. So the marked line may be edited, and its mutation still applies. A test fails if a
// marker has no mutation, or a mutation has no marker. Only Go, Lua and SQL files of folder
// backends have markers.
//
// # Run it
//
//	go test ./proof/mutations
//	go test ./proof/mutations -run 'Mutations$' -v -mutations 'cancel.lua' -timeout 60m
//	go test ./proof/mutations -run 'Mutations$' -v -mutations . -timeout 300m
//
// The flag -mutations is a regular expression. It selects mutations by file and name, such as
// "memory/shard.go final". Without it only that mutation is made.
//
// # Read a failure
//
// "Passes without this guard" means that the test does not need the line: name another test, add
// one, or remove the line. "Did not fail as a test does" means that the mutated line does not parse
// or compile: after an edit of the marked line, also edit the line that replaces it.
//
// # Words
//
//	guard       a line that keeps a promise
//	mutation    a guard that is removed or made wrong
//	marker      the comment with the names of a line's mutations
//	caught      the test fails with the mutation, as it should
package mutations

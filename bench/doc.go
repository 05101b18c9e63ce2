// Package bench measures what pendingq costs, beside baselines in the same run.
//
// # Sides
//
//   - pendingq is the library with its default options. One process claims and completes, as a
//     Worker does. Each command of pendingq-plain goes by itself. Each command of pendingq-gathered
//     goes through the autopipeliner of go-redis.
//   - pendingq-held loads the claim before it completes the request. A stateless node does so for
//     the report of a worker.
//   - original is the layout of hand-written stores. A report loads its record. A lifecycle takes
//     seven round trips.
//   - floor is four plain commands.
//   - original-gathered and floor-gathered send their commands through the autopipeliner.
//
// # Running
//
//	go test -bench . -benchtime 1x ./...   # each benchmark once
//	go run ./report                        # REPORT.md: every figure, every target
//	go run ./instructions                  # the server's instructions, counted by callgrind
package bench

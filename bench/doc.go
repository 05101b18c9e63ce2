// Package bench answers three questions about pendingq: which codec, what does it cost me, and how does it grow. Its
// benchmarks run with go test, and beside them stand baselines in the same run: what four plain commands cost, which
// no design can beat without batching, the layout that the hand-written stores used, and the least that scripts cost.
//
//	go test -bench . -benchtime 1x ./...   # each once
//	go run ./report                        # the report, REPORT.md, with every ratio and its target
package bench

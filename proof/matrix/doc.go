// Package matrix shows that each operation has one effect, however often its reply is lost. It
// makes each operation, in each situation, on one server and on a Cluster. It loses each reply that
// the operation gets, 0 to 4 times. The answer and the stored keys must equal those of a run
// without losses. If the caller gets an error, they must be equal once the caller has repeated the
// operation.
//
// The same operations also go through a remote.Client over HTTP, with memory and with Redis below
// the API node. The proxy loses an HTTP answer as a whole, or its second half. The client repeats
// the operation by itself, so the caller never gets an error.
//
// # Run it
//
//	go test ./proof/matrix
//	go test ./proof/matrix -v -matrix matrix.md
//
// The short run tries a third of the scenarios. With PENDINGQ_FULL=1 it tries all on one server,
// and a third on a Cluster. Over HTTP both try all scenarios three times: without a loss, with one
// whole answer lost, and with the second halves of four answers lost.
//
// # Read a failure
//
// A failure names its cell: the ground, the setup, the scenario, the position and the number of
// cuts. "Got" and "want" are answers, or all stored keys with their content. "Half an effect" means
// that a call failed, and that the stored keys are neither those before the call nor those after a
// success.
//
// # Words
//
//	ground      one server, or a Cluster
//	setup       how the client sends commands: one by one, gathered, or with an old map of slots
//	scenario    a situation, and an operation in it
//	stage       where a scenario is arranged, without any losses
//	position    which of the replies is lost
//	cut         one lost reply
//	lab         a client whose replies are lost, and one whose replies are not
//	cell        one scenario, position and number of cuts in one setup
//	neighbour   another call in the same pipeline
//	shape       the content of an answer or of stored keys, without points in time
//
// # Add a scenario
//
// Add it to calls.Scenarios: see the README of folder proof.
package matrix

// Package matrix shows that each operation has one effect, however often its reply is lost. It makes
// each operation, in each situation, and loses each reply that the operation gets, 0 to 4 times, on
// one server and on a Cluster. The answer and all that is stored have to be those of a run without
// losses. If the caller gets an error instead, the caller repeats the operation and has them then.
//
// The same operations also go through a remote.Client over HTTP, with memory and with Redis below
// the API node. There an HTTP answer is lost whole, or its second half is. The client repeats the
// operation by itself, so the caller never gets an error.
//
// # Run it
//
//	go test ./proof/matrix
//	go test ./proof/matrix -v -matrix matrix.md
//
// The short run tries all scenarios on one server, and every third on a Cluster. Over HTTP it tries
// all scenarios without a loss, with one answer lost whole and with four lost in part.
//
// # Read a failure
//
// A failure names its cell: the ground, the setup, the scenario, the position and the number of cuts.
// "Got" and "want" are answers, or all keys that are stored with what they hold. "Half an effect"
// means that a call failed and left neither what was there before nor what should be there after.
//
// # Words
//
//	ground      what the tests run on: one server, or a Cluster
//	setup       how the client sends commands: one by one, gathered, or by an old map of slots
//	scenario    a situation and the operation that is made in it
//	stage       where a scenario is arranged, without any losses
//	position    which of the replies is lost
//	cut         one lost reply
//	lab         a client whose replies are lost, and one whose replies are not
//	cell        one scenario, position and number of cuts in one setup
//	neighbour   another call in the same pipeline
//	shape       what an answer says, without the times at which things happened
//
// # Add a scenario in ten lines
//
// See the README of folder proof.
package matrix

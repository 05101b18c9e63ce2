// Package history makes calls to a backend from many goroutines, records what each caller saw, and
// checks that the answers agree with one store that does one operation after the other. Authors of
// backends use it through backendtest.Histories. The tests of proof also use it for storages that
// fail over, and for calls that were made over HTTP.
//
// # How it checks
//
//   - Each request by itself: model.go says what a request does, without any code of a backend.
//     Package porcupine looks for an order of the request's calls that the model allows.
//   - Each mailbox: order.go compares the times that the backend put into its records. Claims take
//     the longest claimable request first and pass none over. Caps and exclusive mailboxes are
//     neither too wide nor too narrow.
//   - Each fail-over: loss.go checks that it lost only the last of what the old master did.
//
// # Words
//
//	session     one mailbox of four stores, and eight callers who make 60 calls each
//	call        one operation as its caller saw it: when it began, and when which answer came
//	pace        the unit of all times of a session's requests
//	history     the calls of a session, sorted by request
//	step        what a call did to one request; porcupine orders steps
//	perhaps     a step that nobody was told of: it may have happened or not
//	lossy       a call that a fault may have disturbed, so it may have happened before its answer
//	abandoned   a call whose caller went away once; it may happen even after a later answer
//	effect      a create, a claim or an end that is known to have happened
//	span        a time in which a request could be claimed
//	slack       how much later than known a change may have happened
//	safe        what a replica had received before its master died
package history

// Package history makes calls to a backend from many goroutines and records the reply to each call.
// Then it checks that the replies agree with a store that does one operation after another. Authors
// of backends use it through backendtest.Histories. The tests of proof also use it for storages
// that fail over and for calls over HTTP.
//
// # How it checks
//
//   - Each request by itself: model.go says what a request does, without any code of a backend.
//     Package porcupine looks for an order of the request's calls that the model allows. If replies
//     were lost, fill.go adds the calls that later records show.
//   - Each mailbox: order.go compares the times in the backend's records. Claims take the longest
//     claimable request first and skip none. Caps and exclusive stores refuse a request only when
//     they must.
//   - Each claim: memo.go compares the replies to claims of one id. A repeat claims nothing more.
//     It returns the requests that still run.
//   - Each fail-over: loss.go checks that it lost only the last effects of the old master.
//
// # Words
//
//	session     one mailbox of four stores, and eight callers who make 60 calls each
//	call        one operation as its caller saw it: when it began, its reply, and when that came
//	pace        the unit of all times of a session's requests
//	history     the calls of a session, sorted by request
//	step        the part of a call that concerns one request; porcupine orders steps
//	perhaps     a step without a reply: it may or may not have happened
//	lossy       a call that a fault may have disturbed: a lost try may have had the effect
//	abandoned   a call with a try that its caller left; that try may take effect after the reply
//	effect      a create, a claim or an end that is known to have happened
//	span        a time in which a request could be claimed
//	slack       how much later than known a change may have happened
//	safe        received by the replica before its master died
package history

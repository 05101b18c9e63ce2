// Package dashboard serves web pages on which people see pending and running requests, their ages
// and their mailboxes, and cancel a request by hand. [New] returns an [http.Handler]. Mount it at
// any path:
//
//	stores := []dashboard.Store{{Policy: policy}}
//	d, err := dashboard.New(backend, dashboard.Config{Stores: stores})
//	...
//	mux.Handle("/pendingq/", d) // behind your authentication
//
// The pages work without JavaScript, and are live with it. They load nothing from other hosts.
//
// # Who may do what
//
// Without [Config.Access] the pages are read-only: everybody who reaches the handler sees all
// stores, and nobody sees a payload or cancels. Otherwise Access decides about each page, each
// mailbox on it and each action. A hidden page answers 404, like a page that does not exist.
//
// A payload shows only if its store has a Payload function, and Access allows [ReadPayload]. A
// cancel needs [Cancel], a confirmation in the browser, and a request of the same origin. It leaves
// a line in the log with the person, the request and the reason.
//
// # What it costs
//
// A page does bounded work, whatever the number of requests. The overview asks the backend for
// mailboxes at most 80 times, and not again after 50 ms. It reads ten requests of each of 25
// mailboxes. The page of a mailbox reads 50 requests. Each read includes the payload. While a
// browser shows a live page, the page reads the same again every few seconds. The backend must be a
// Lister.
package dashboard

// Package dashboard is a web page for people who want to see what is pending, for how long and for
// whom, and who may cancel a request by hand. [New] returns an [http.Handler]; mount it anywhere:
//
//	d, err := dashboard.New(backend, dashboard.Config{Stores: []dashboard.Store{{Policy: policy}}})
//	...
//	mux.Handle("/pendingq/", d) // behind your authentication
//
// The pages work without JavaScript, and are live with it. They load nothing from elsewhere.
//
// # Who may do what
//
// Without [Config.Access] the pages are read-only: everybody who reaches the handler sees all
// stores, and nobody sees a payload or cancels. With it, Access decides about each page, each
// mailbox on it and each action. What a person may not see answers 404, like what does not exist.
//
// A payload shows only if its store has a Payload function, and Access allows [ReadPayload]. A
// cancel needs [Cancel], a confirmation in the browser, and a request of the same origin. It leaves
// a line in the log with the person, the request and the reason.
//
// # What it costs
//
// A page does bounded work, whatever the number of requests. The overview asks the backend for
// mailboxes at most 80 times, and not again after 50 ms. It reads ten requests of each of 25
// mailboxes. The page of a mailbox reads 50 requests. All are read with their payloads. A live page
// reads the same again every few seconds while somebody looks. The backend needs a Lister.
package dashboard

// Package dashboard serves web pages about pending and running requests. People see the requests of
// each mailbox and their ages, and can cancel a request. [New] returns an [http.Handler]. Mount it
// at any path that ends with a slash:
//
//	stores := []dashboard.Store{{Policy: policy}}
//	d, err := dashboard.New(backend, dashboard.Config{Stores: stores})
//	...
//	mux.Handle("/pendingq/", requireLogin(d)) // your authentication
//
// The pages work without JavaScript, and are live with it. They load nothing from other hosts.
//
// # Your login
//
// The dashboard has no login and never asks for one. Your middleware checks the session, and sends
// people without one to your login page. It may put the user into the context of the request. Then
// [Config.Access] finds the user there and decides. See [Access] for live pages after a logout.
//
//	Access: func(r *http.Request, action dashboard.Action, store, mailbox string) (string, bool) {
//		user, ok := userOf(r.Context())
//		if !ok {
//			return "", false
//		}
//		return user.Name, action != dashboard.Cancel || user.Admin
//	},
//
// # Who may do what
//
// Without [Config.Access] the pages are read-only: everybody who reaches the handler sees all
// stores and requests, and nobody sees a payload, sees headers or can cancel. With it, Access
// decides about each page, each mailbox on it and each action. A hidden page answers 404, like a
// page that does not exist. The overview and a search leave out hidden stores and mailboxes. A
// damaged request has no known mailbox: whoever may see its store and knows its id gets a 500. The
// style sheet, the script and the icon are for everybody.
//
// [View] also shows the errors of requests and the reasons of cancels. If people must not see
// payloads, keep payloads out of these texts.
//
// A payload shows only if its store has a Payload function, and Access allows [ReadPayload]. A
// cancel needs [Cancel], and a POST that no other site has sent. The browser first asks for a
// reason. The log gets a line with the person, the request and the reason.
//
// # What it costs
//
// The work for a page does not grow with the number of requests. The overview makes at most 80
// calls for mailboxes, and starts no such call after 50 ms. So a person who may see only few of
// many mailboxes may get empty pages. The overview shows up to 49 mailboxes, over Redis up to a
// hundred more, and reads up to ten requests of each. The page of a mailbox reads up to 50
// requests. Each read includes the payload: with payloads of 1 MiB this page reads 50 MiB. While
// a browser shows a live page, the handler repeats these reads every [Config.Refresh]. For a
// mailbox or a request it also repeats them after signals of the backend. A tab in the background
// is not live. The backend must be a [backends.Lister].
package dashboard

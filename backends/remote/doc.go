// Package remote is a backend over HTTP, for workers and front ends that reach an API node but not
// the storage. The API node serves any backend with a [Handler]:
//
//	server, err := remote.Handler(backend, remote.Config{
//		Stores: []pending.Policy{backups},
//		Access: access, // who may do what
//	})
//	...
//	mux.Handle("/pending/", http.StripPrefix("/pending", server))
//	httpServer.RegisterOnShutdown(server.Drain)
//
// A device or a front end uses the backend that [New] returns, like any other:
//
//	client, err := remote.New("https://node.example/pending", &remote.Options{Token: token})
//	...
//	store, err := pending.New(client, codec.JSON[Backup](), backups)
//	...
//	worker, err := pending.NewWorker("device-7", nil, pending.Handle(store, run))
//
// # What counts
//
// The policies of the server count, and its backend's clock. A client should have the same
// policies: a Worker takes its intervals from its own.
//
// # Access
//
// [Access] decides about each HTTP request before the server reads a large body. It decides by the
// caller, the action, the store and the mailbox. If a caller may not see a request, the answer is a
// 404, byte for byte like the answer for a request that does not exist. Create, Claim and List then
// return [backends.ErrNotFound], and name the store and the mailbox. A claim fails if one of its
// stores is not served, or is hidden. So does a poll of a Worker, which claims from all its stores.
//
// # Retries
//
// Every operation may be repeated, so the client repeats it after network errors and failures of
// the server. It begins no repeat after the context's deadline, or after 30 s. A try has 20 s until
// its answer begins, a minute more for a large body, and another minute for the answer. So without
// a deadline a call may take three minutes.
//
// # Waiting
//
// All waiters of a client share one long poll, or a few. The API node names in its answer the
// mailboxes that have got requests and the requests that have changed, such as cancelled ones. A
// busy worker keeps this poll open while it claims nothing.
//
// # Limits
//
// A front end cannot starve a worker: front ends and workers have separate limits, and so has each
// caller.
// See [Config]. Give a store the MaxPayload that it needs. The smaller it is, the more requests
// fit into [Config.MaxInFlight].
//
// # Other languages
//
// The protocol is JSON over HTTP. openapi.yaml describes it, and example.mjs uses it.
package remote

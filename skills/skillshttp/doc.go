// Package skillshttp serves the five stores of package skills over HTTP. Its routes, messages and
// statuses are those of existing clients and daemons. Any number of nodes may serve the same
// stores, each with a Handler of its own:
//
//	stores, err := skills.New(backend)
//	...
//	handler, err := skillshttp.New(skillshttp.Config{
//		Stores:   stores,
//		Access:   access,   // who may do what with which runtime
//		Presence: presence, // which runtimes are online
//		Library:  library,  // where imported skills are kept
//	})
//	...
//	server := skillshttp.NewServer(":8080", handler)
//	err = server.ListenAndServe()
//
// # Routes
//
// A front end uses the routes below /api/runtimes/{runtimeId}, a runtime's daemon those below
// /api/daemon. Each request is authorised for its runtime before anything is looked up. The answer
// is the same 404 for a request that does not exist and for one that the caller may not see.
//
// # Waiting
//
// With ?wait=20s a GET is held until the request has ended, and a heartbeat until there is work.
// [Config] limits how many are held, so that no caller starves another. Before a node stops, call
// [Handler.Drain].
//
// # When the storage is away
//
// A heartbeat is answered within [Config.HeartbeatTime], without work if need be, so that a runtime
// stays online. For any other answer the stores have [Config.CallTime].
package skillshttp

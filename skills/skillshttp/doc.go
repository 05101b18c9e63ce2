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
// A front end uses the routes below /api/runtimes/{runtimeId}, and a runtime's daemon uses the
// routes below /api/daemon. Each request is authorised for its runtime before the stores are read.
// A caller who may not see a runtime gets the same 404 as for a request that does not exist.
//
// # Waiting
//
// With ?wait=20s a GET is held until the request has ended, and a heartbeat until there is work.
// [Config] limits how many are held, so that no caller starves another. Before a node stops, call
// [Handler.Drain], and [Handler.Wait] before you close its backend.
//
// # When the storage is away
//
// A claim that takes longer than [Config.HeartbeatTime] is given up, and the heartbeat is answered
// without work. So a runtime stays online. For any other answer the stores have [Config.CallTime].
package skillshttp

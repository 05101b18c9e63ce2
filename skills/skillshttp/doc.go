// Package skillshttp serves the five stores of package skills over HTTP, with the routes, shapes
// and statuses that existing clients and daemons speak. Any number of nodes may serve the same
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
// A front end asks below /api/runtimes/{runtimeId}, a runtime's daemon reports below /api/daemon.
// Each request is authorised for its runtime before anything is looked up, and whatever the caller
// may not see is one and the same 404.
//
// # Waiting
//
// With ?wait=20s a GET is held until the request has ended, and a heartbeat until there is work.
// [Config] limits how many are held, so that nobody starves another. Before a node stops, call
// [Handler.Drain].
//
// # When the storage is away
//
// A heartbeat is answered within [Config.HeartbeatTime], without work if need be, so that a runtime
// stays online. For any other answer the stores have [Config.CallTime].
package skillshttp

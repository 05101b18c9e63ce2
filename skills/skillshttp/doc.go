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
// A front end asks below /api/runtimes/{runtimeId}, a runtime's daemon reports below /api/daemon.
// Each request is authorised for its runtime before anything is looked up, and whatever the caller
// may not see is one and the same 404. With ?wait=20s a GET is held until the request has ended,
// and a heartbeat until there is work.
package skillshttp

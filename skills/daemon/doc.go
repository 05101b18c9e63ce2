// Package daemon runs on a runtime: it asks the server for work, does the work, and reports.
//
//	roots, err := folders.DefaultRoots()
//	...
//	handlers := daemon.Folders(roots) // lists and imports skills
//	handlers.Ping = func(context.Context) (string, error) { return "up", nil }
//	d, err := daemon.New(daemon.Config{
//		Server:    "https://api.example.com",
//		RuntimeID: runtimeID,
//		Token:     token,
//		Handlers:  handlers,
//	})
//	...
//	err = d.Run(ctx) // until ctx ends
//
// # Lost answers
//
// The server holds a heartbeat until there is work. Each heartbeat carries a claim id. The daemon
// repeats the heartbeat with the same id until an answer arrives, so a lost answer costs no work.
// Reports are repeated as well, even while the daemon shuts down.
package daemon

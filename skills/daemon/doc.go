// Package daemon is what a runtime runs: it asks the server for work, does it, and reports.
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
// The server holds a heartbeat until there is work. Each carries a claim id, and is repeated with
// it until an answer has arrived, so an answer that is lost costs nothing. Reports are repeated as
// well, and finished even while the daemon shuts down.
package daemon

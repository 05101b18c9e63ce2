// Postgres measures pendingq over PostgreSQL: beside four plain statements and River, what idle
// mailboxes cost, and how soon a waiter hears of a request. It starts a server of its own on
// loopback, and prints Markdown. In the folder bench:
//
//	go run ./postgres              # some minutes
//	go run ./postgres -set quick   # a first look
//
// The sides take turns in one run, so their ratios hold on a loaded machine, too. Processor time is
// that of the server's processes and of this one; it needs Linux.
package main

// Package pending asks machines that cannot be called for something: agents, daemons and devices behind NAT that
// only poll. An API node stores a request; the machine's next poll, at any node, claims it; the machine does the
// work and reports to any node; the front end reads the answer from any node. Nodes hold no state: all of it is
// in a backend, such as those of packages memory and goredis, and lives by the backend's clock.
//
// A store is typed by its payload, which holds the question and the answer:
//
//	type Reboot struct {
//		Reason string
//		Uptime time.Duration // the answer
//	}
//
//	reboots, err := pending.New(memory.New(), codec.JSON[Reboot](), pending.Policy{
//		Name:           "reboot",
//		PendingTimeout: time.Minute,
//		RunningTimeout: 5 * time.Minute,
//		Retention:      10 * time.Minute,
//	})
//	...
//	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update"}) // node 1, for the front end
//	...
//	r, err := reboots.PopPending(ctx, "device-7") // node 2, for the device's poll
//	...
//	r.Payload.Uptime = 3 * time.Second
//	err = reboots.Complete(ctx, r) // node 3, for its report
//	...
//	answer, err := reboots.Get(ctx, asked.ID) // node 1 or any other
//
// What callers may rely on:
//
//   - A claim has exactly one winner, the longest claimable request first.
//   - Ended is final: no late report and no other ending rewrites it.
//   - Deadlines need nobody who enforces them: a request past its deadline reads as timed out, everywhere.
//   - Whatever failed without a clear refusal can be repeated, and has one effect.
//   - Nothing piles up: what nobody claims or reads disappears by itself.
//
// Create, Get and the pops return a [Request]; what changes a request takes one that was loaded. So a handler
// reads: Get, check who may, set the payload's answer, Complete.
package pending

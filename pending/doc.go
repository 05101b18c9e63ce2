// Package pending sends requests to machines that cannot be called: agents, daemons and devices
// behind NAT that only poll. An API node stores a request. The machine's next poll claims it. The
// machine does the work and reports. The front end reads the answer. Each step may use another
// node: all state is in a backend, such as memory or goredis. Times are by the backend's clock.
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
//
// # Requesters and workers
//
// A requester creates a [Request] and reads it. A worker claims the request and gets a [Claim]:
//
//	asked, err := reboots.Create(ctx, "device-7", Reboot{Reason: "update"}) // node 1: the front end
//	...
//	c, err := reboots.PopPending(ctx, "device-7") // node 2: the device's poll
//	...
//	c, err = reboots.Held(ctx, id, attempt) // node 3: the device's report
//	c.Payload.Uptime = uptime
//	err = reboots.Complete(ctx, c)
//	...
//	answer, err := reboots.Get(ctx, asked.ID) // node 1 or any other
//
// A device reports with the ID and Attempt of its claim. Held returns [ErrStaleClaim] if another
// worker has claimed the request since. A worker that keeps the Claim from its pop needs no Held.
//
// Only a Claim can end a request as its worker. A Request cannot, because Get may return the
// attempt of another worker. A [Worker] claims requests and runs handlers for them.
//
// # Promises
//
//   - Exactly one worker claims a request. The request that has been claimable longest comes first.
//   - An ended request is final: no late report changes it.
//   - Nobody has to enforce deadlines: a request past its deadline reads as timed out everywhere.
//   - A retry has no second effect. A Create needs a key for this, and a pop a claim id.
//   - Storage frees itself: the backend removes each request after its Retention.
package pending

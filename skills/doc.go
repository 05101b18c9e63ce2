// Package skills has five stores of requests from a front end to a runtime, which is a machine that
// only polls: list its local skills, import one, ping it, update it, list its models. Each store is
// a payload type, a policy and one line of code. Use them as a pattern for your own stores.
//
//	stores, err := skills.New(backend)
//	...
//	// any API node, for the front end:
//	request, err := stores.Pings.Create(ctx, runtimeID, skills.Ping{})
//	// any API node, for the runtime's next heartbeat:
//	work, err := stores.Heartbeat(ctx, runtimeID) // work.Ping has an ID and an Attempt
//	// any API node, for the runtime's report, which carries that id and attempt:
//	claim, err := stores.Pings.Held(ctx, id, attempt)
//	...
//	claim.Payload.Output = "up"
//	err = stores.Pings.Complete(ctx, claim)
//
// # The stores
//
//   - Lists: which skills and MCP servers a runtime has.
//   - Imports: a skill from a runtime. A heartbeat brings up to ten. Extra outcome: "conflict".
//   - Pings: a sign of life.
//   - Updates: an update to another version. Exclusive: one at a time.
//   - ModelLists: which models a runtime has.
//
// [ListPolicy] and the other policies hold the timeouts and limits. [New] can change them.
//
// # Over HTTP
//
// Package skillshttp serves the stores. A runtime runs package daemon, which finds and bundles
// skills on the disk with package folders. Package wire has the messages between server and daemon.
//
// # A store of your own
//
// A further store needs a payload type, a policy and a call of [pending.New], on the same backend.
// Its workers claim with PopPending, or with an Inbox of their own. This package does not change.
//
// A sixth store, which heartbeats and the HTTP routes also serve, needs changes in four packages:
//
//   - skills: a file like ping.go. In stores.go its field in [Policies], [Stores] and [Work], and
//     its line in New, withLimits, work and Empty.
//   - wire: its field in Assignments and in Empty, its report, and its kind if the server gives
//     hints for it.
//   - skillshttp: its question in routes, a reported value in daemonRoutes and its apply function,
//     its line in Assign, and its kind in hint.
//   - daemon: its handler in Handlers, its line in jobs and its method in work.go.
package skills

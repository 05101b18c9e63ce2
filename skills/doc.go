// Package skills is the five stores of requests that a front end has for a runtime, a machine that
// only polls: list its local skills, import one, ping it, update it, list its models. Each is a
// payload type, a policy and a line that makes a store of them, and so a pattern for stores of your
// own.
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
//   - Imports: a skill from a runtime. Ten travel with one heartbeat. Outcome "conflict".
//   - Pings: a sign of life.
//   - Updates: to another version. Exclusive: one at a time.
//   - ModelLists: which models a runtime has.
//
// [ListPolicy] and the others tell their times and limits. [New] can change them.
//
// # Over HTTP
//
// Package skillshttp serves the stores, package daemon is what a runtime runs, and package wire has
// the messages between them. What a runtime does with the skills on its disk is in package
// folders.
package skills

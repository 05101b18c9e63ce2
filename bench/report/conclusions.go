package main

// conclusions are written by people, about the figures of the machine in REPORT.md. Check them
// against the figures after each measurement.
const conclusions = `## What follows

**Which codec.** msgpack is the default of the five stores. It is a little smaller than JSON. It
decodes lists about as fast as JSON or faster, and other payloads in about half the time or less. It
encodes pings, updates and imports at least as fast. JSON encodes the longest lists of structs
faster: list-1000 and models-500. JSON is for people who read payloads with redis-cli. A store reads
both, so the choice can change while requests are live.

**What compression and sealing cost.** Sealing takes about 3 to 10 µs an operation to derive the
keys. A sealed import takes two to six times as long as msgpack alone. Zstd shrinks
these payloads far more than real payloads, because the texts here repeat. Zstd pays off where Redis
or the network is the limit.

**Round trips.** A lifecycle takes four round trips instead of seven, or five if its report loads
the claim. If your workers report to stateless nodes, compare *pendingq-held* with original. An idle
heartbeat over five stores takes one instead of five. Over a network, the number of round trips
decides the duration.

**Gathering.** A script costs the server more than a plain command. A packet costs the server more
than a script: the instructions above leave out the kernel's work for it. With many callers,
gathered commands share packets. So pendingq needs less server time than original, although its
scripts do more. A single caller gains nothing, so its commands are not gathered. Gathering speeds
up plain commands even more. With hundreds of callers, *original-gathered* is about as fast as
pendingq, and needs less server time.

**What the scripts pay for.** original has none of these guarantees:

- Each operation is one atomic step by the server's clock.
- Deadlines are exact, and no process searches for requests that have timed out.
- A repeat of an operation has no second effect, and returns the first result.
- Waiters are woken.

**Idle polls** are most of the traffic. In a mailbox without live requests, one EXISTS over the keys
of all stores answers a poll. A running request adds a few commands.

**Large answers.** Lua hashes every byte of every string. A large payload therefore bypasses the
scripts: it has a key of its own, and plain commands write and read it.

**How it grows.** No operation on a request or a mailbox scans. Only Mailboxes, which dashboards
use, walks through all keys with SCAN, page by page. The cost of a lifecycle grows far more slowly
than the number of live requests. In our runs, a thousand times as many requests took less than half
more of the server's time, in one mailbox or in many.
`

package main

// conclusions are what people made of the figures. Read them with the machine above in mind.
const conclusions = `## What follows

**Which codec.** msgpack is the default of the five stores. It is a little smaller than JSON,
decodes faster on every payload here, and encodes faster except for long lists of small structs.
JSON is for people who read payloads with redis-cli. A store reads both, so the choice can change
while requests are live.

**What compression and sealing cost.** Sealing takes some 8 to 10 µs an operation to derive the
keys. On large payloads it then takes about as much time as msgpack. Zstd shrinks these payloads
far more than real ones, because their texts repeat. It pays off where Redis or the network is the
limit.

**Round trips.** A lifecycle takes four round trips instead of seven. An idle heartbeat over five
stores takes one instead of five. Over a network the round trips decide.

**Gathering.** A script costs the server more than a plain command. A packet costs the server
more than either: that is the kernel's work, which the instructions above leave out. With many
callers gathered commands share packets. This is why pendingq needs less of the server than
original, although its scripts do more. A single caller gains nothing, so its commands go by
themselves. Gathering speeds up plain commands even more: compare *floor-gathered*.

**What the scripts pay for.** original keeps none of these promises:

- Each operation is one atomic step by the server's clock.
- Deadlines are exact, and nothing searches for what has timed out.
- A repeat of an operation finds what the operation did.
- Waiters are woken.

**Idle polls.** They are most of all traffic. In a mailbox without live requests one EXISTS over
the keys of all stores answers them. A running request adds a few commands.

**Large answers.** Lua hashes every byte of every string. A large payload therefore bypasses the
scripts: it has a key of its own, and plain commands write and read it.

**How it grows.** Nothing scans. The cost of a lifecycle hardly depends on how many requests are
live.
`

package main

// conclusions are what people made of the figures; read them with the machine above in mind.
const conclusions = `## What follows

**Which codec.** msgpack is the default of the five stores: it is a little smaller, decodes faster than JSON on every
payload here, many times so on imports, and encodes faster but for long lists of small structs. JSON is there for whoever wants to read payloads with redis-cli; a
store reads both, so the choice can be changed while requests are live.

**What it costs.** A lifecycle is four round trips instead of seven, and an idle heartbeat over five stores one instead of
five. Against plain commands each operation pays for a script: about 3 µs to start it, 2 to 3 µs for each command that it
calls (TIME alone is 3), and what Lua does in between. Of a claim's CPU time half is its nine commands: which of the keys
exist, the time, the memo of the claim, the queue, the record, and three writes. These are what one winner, harmless
repeats and the server's clock cost; the original layout has none of the three. So where the network's round trips are
cheap, as on one machine, the server works more than with the original layout, and less with commands that are gathered
(AutoPipeline), which pays from a few dozen callers on.

**How it grows.** Nothing scans: a lifecycle costs the same with a thousand and with a million live requests.
`

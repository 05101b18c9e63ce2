package main

// conclusions are what people made of the figures; read them with the machine above in mind.
const conclusions = `## What follows

**Which codec.** msgpack is the default of the five stores: it is a little smaller, decodes faster than JSON on every
payload here, many times so on imports, and encodes faster but for long lists of small structs. JSON is there for whoever wants to read payloads with redis-cli; a
store reads both, so the choice can be changed while requests are live.

**What it costs.** A lifecycle is four round trips instead of seven, and an idle heartbeat over five stores one instead of
five, for two fifths of the server's time; heartbeats are most of the traffic. In lifecycles, against plain commands each operation pays for a script. Counted with callgrind, in instructions that Redis 7.0.15
itself spends on a lifecycle, without the kernel's:

| | instructions |
|---|---:|
| original: nine commands, one of them a script | 109,000 |
| four scripts that only return 1 | 61,000 |
| the same with a key and six arguments each | 110,000 |
| pendingq: four scripts | 363,000 |
| of these: 18 commands called from Lua, 7,000 each | 128,000 |
| Lua's garbage collection | 50,000 |
| digits, strings, checks of records, and what starts a script | 185,000 |

So scripts that do nothing at all already cost half of the original's CPU time, each command that one calls as much as
two thirds of a command of its own, and both together, without a line of Lua between them, twice the original's
instructions. Of the 18 none can go: is anything there, the time (three times: the server's clock decides), the record
(three times), the queue, what a repeat has to find (the claim's memo), and the writes. They are what one winner, harmless repeats and the server's clock cost; the original layout has none of the three. That is why a ratio of 0.70
is out of reach where each command comes in a packet of its own and packets are cheap, as over loopback, and 0.50 with
AutoPipeline; lifecycles a second follow, since the server's one thread is what limits them. Where commands are
gathered (AutoPipeline), or a network lies between, the fewer round trips win.

**How it grows.** Nothing scans: a lifecycle costs much the same with a thousand and with a million live requests.
`

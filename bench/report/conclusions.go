package main

// conclusions are what people made of the figures; read them with the machine above in mind.
const conclusions = `## What follows

**Which codec.** msgpack is the default of the five stores: it is a little smaller, decodes faster than JSON on every
payload here, many times so on imports, and encodes faster but for long lists of small structs. JSON is there for whoever wants to read payloads with redis-cli; a
store reads both, so the choice can be changed while requests are live.

**What it costs.** A lifecycle is four round trips instead of seven, and an idle heartbeat over five stores one instead of
five, for two fifths of the server's time; heartbeats are most of the traffic. With commands gathered (AutoPipeline) and many
callers, pendingq does more lifecycles a second than the same server does bare SETs and GETs one by one. One by one, the
server's time is what it cannot win: each operation pays for a script. Counted with callgrind, in instructions that Redis
7.0.15 itself spends on a lifecycle, without the kernel's:

| | instructions |
|---|---:|
| original: nine commands, one of them a script | 101,000 |
| pendingq: four scripts | 315,000 |
| of these: four scripts with a key and an argument that only return 1 | 52,000 |
| 18 commands called from Lua: an EXISTS 3,200, TIME 6,500, a SET with a time to live 10,800 | 122,000 |
| what is left: strings, each of whose bytes Lua hashes, further keys and arguments, digits, checks, garbage | 141,000 |

So scripts that do nothing already cost half of the original's instructions, and the commands that they call more than all of
them. Of the 18 none can go: is anything there, the time (three times: the server's clock decides), the record (three times),
the queue, what a repeat has to find (the claim's memo), those who wait, and the writes. They are what one winner, harmless
repeats and the server's clock cost; the original layout has none of the three. Were all of the last row free, the two above
would still be 1.7 times the original's. The four packets that are saved win less than that back over loopback, where a
packet is cheap: hence about 1.1 instead of 0.70, and 0.5 to 0.7 with AutoPipeline, which saves both sides' packets alike.
Over a network with a round-trip time the seven to four decides.

**Large answers.** Lua hashes every byte of every string, so what passes through a script holds the server up ten times as
long as what a plain command stores. From 4 KiB on an answer is therefore staged with a plain SET, in the round trip of the
script that moves it into place, and from 16 KiB on read with a plain GET. Before that an answer of 8 MB took the server 100 ms,
and nobody else was served meanwhile.

**How it grows.** Nothing scans: a lifecycle costs much the same with a thousand and with a million live requests.
`

package main

// conclusions are what people made of the figures; read them with the machine above in mind.
const conclusions = `## What follows

**Which codec.** msgpack is the default of the five stores: it is a little smaller, decodes faster than JSON on every
payload here, many times so on imports, and encodes faster but for long lists of small structs. JSON is there for whoever wants to read payloads with redis-cli; a
store reads both, so the choice can be changed while requests are live.

**What it costs.** A lifecycle is four round trips instead of seven, and an idle heartbeat over five stores one instead of
five, for two fifths of the server's time; heartbeats are most of the traffic. With commands gathered (AutoPipeline) and many
callers, pendingq does more lifecycles a second than the same server does bare SETs and GETs one by one.

**What limits it.** One by one, the server's time is what it cannot win: each operation pays for a script. How little that
can be, *bare* tells, which was measured in the same rounds: four scripts of the fewest commands that make each operation
one step by the server's clock. Even they need more of the server's time than 0.70 of the original's, so no design with
these two promises gets there on this server. Where *bare* does get there, what pendingq adds is why it does not. Counted
with callgrind, in instructions that Redis 7.0.15 itself spends on a lifecycle, without the kernel's:

| | instructions |
|---|---:|
| original: nine commands, one of them a script | 101,000 |
| bare: four scripts | 200,000 |
| pendingq: four scripts | 314,000 |
| of these: four scripts with a key and an argument that only return 1 | 52,000 |
| 18 commands called from Lua: an EXISTS 3,200, TIME 6,500, a SET with a time to live 10,800 | 122,000 |
| what is left: strings, each of whose bytes Lua hashes, further keys and arguments, digits, checks, garbage | 140,000 |

The 114,000 above *bare* are what its further promises cost: what a repeat has to find (the claim's memo, 14,000), telling those who
wait (11,000), whether anything is there or has lapsed or timed out (EXISTS and its keys, 13,000), deadlines as absolute
microseconds, caps, attempts, and that each record is checked before it is believed. The original has none of these, nor one
winner by one clock. That the four packets which are saved win little of it back is due to loopback, where a packet is cheap;
AutoPipeline saves both sides' packets alike. Over a network with a round-trip time the seven to four decides.

A plain GET beside a TIME instead of Get's script would save 18,000 instructions (5 to 7 % of the server's time, nothing in
throughput one by one). It was tried and dropped: the recorded histories found answers that no single moment explains.

**Large answers.** Lua hashes every byte of every string, so what passes through a script holds the server up ten times as
long as what a plain command stores. From 4 KiB on an answer is therefore staged with a plain SET, in the round trip of the
script that moves it into place, and from 16 KiB on read with a plain GET. Before that an answer of 8 MB took the server 100 ms,
and nobody else was served meanwhile.

**How it grows.** Nothing scans: a lifecycle costs much the same with a thousand and with a million live requests.
`

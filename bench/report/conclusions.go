package main

// conclusions are what people made of the figures; read them with the machine above in mind.
const conclusions = `## What follows

**Which codec.** msgpack is the default of the five stores: it is a little smaller, decodes faster than JSON on every
payload here, many times so on imports, and encodes faster but for long lists of small structs. JSON is there for whoever wants to read payloads with redis-cli; a
store reads both, so the choice can be changed while requests are live.

**What compression and sealing cost.** Sealing takes some 8 to 10 µs an operation to derive the keys.
On large payloads it then takes about as much time as msgpack. Zstd shrinks these payloads far more
than real ones, because their texts repeat. It pays off where Redis or the network is the limit.

**What it costs.** A lifecycle is four round trips instead of seven, and an idle heartbeat over five stores one instead of
five, for two fifths of the server's time; heartbeats are most of the traffic. With commands gathered (AutoPipeline) and many
callers, pendingq does more lifecycles a second than the same server does bare SETs and GETs one by one.

**What limits it.** One by one, the server's time is what it cannot win: each operation pays for a script. How little that
can be, *bare* tells, which was measured in the same rounds: four scripts of the fewest commands that make each operation
one step by the server's clock. Even they need more of the server's time than 0.70 of the original's, so no design with
a script for each operation gets there on this server. What *bare* reaches and pendingq does not is the price of its further
promises. Counted with callgrind, in instructions that Redis 7.0.15 itself spends on a lifecycle, without the kernel's:

| | instructions |
|---|---:|
| original: nine commands, one of them a script | 101,000 |
| bare: four scripts | 200,000 |
| pendingq: four scripts | 311,000 |
| of these: four scripts with a key and an argument that only return 1 | 52,000 |
| 18 commands called from Lua: an EXISTS 3,200, TIME 6,500, a SET with a time to live 10,800 | 122,000 |
| what is left: strings, each of whose bytes Lua hashes, further keys and arguments, digits, checks, garbage | 137,000 |

The 111,000 above *bare* pay for these promises: a repeat finds what it did (the claim's memo, 14,000); those who wait are told
(9,000); what has lapsed or timed out is found without a search (EXISTS and its keys, 11,000); deadlines are exact, in absolute
microseconds (16,000); each record is checked before it is believed (12,000 in a claim alone); and so on, for caps, attempts
and limits that each call brings along. The original makes none of them. The three round trips that are saved win little of it back, since
over loopback a packet is cheap, and AutoPipeline saves the packets anyway. Over a network with a round-trip time the seven to
four decides.

A plain GET beside a TIME instead of Get's script would save 18,000 instructions (5 to 7 % of the server's time, nothing in
throughput one by one). It was tried and dropped: the recorded histories found answers that no single moment explains.

**Large answers.** Lua hashes every byte of every string, so what passes through a script holds the server up ten times as
long as what a plain command stores. From 4 KiB on an answer is therefore staged with a plain SET, right before the
script that moves it into place, and from 16 KiB on read with a plain GET. Before that an answer of 8 MB took the server 100 ms,
and nobody else was served meanwhile.

**How it grows.** Nothing scans: a lifecycle costs much the same with a thousand and with a million live requests.
`

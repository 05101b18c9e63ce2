package goredis

import "strings"

// keys makes the keys of one store in one partition:
//
//	<prefix>{<partition>}:<store>/r/<id>       a record: a string, see record.go
//	<prefix>{<partition>}:<store>/q/<mailbox>  the queue: a sorted set of the ids of live requests
//	<prefix>{<partition>}:<store>/p/<random>   a large payload: a string, see payload.go
//	<prefix>{<partition>}:/c/<claim id>        the memo of a claim: for each request a line with
//	                                           started and attempt, 20 digits, and the record's key
//
//	<prefix>{<partition>}                      no key, but the channel of wake-ups: a message is
//	                                           the key of a changed queue or record
//
// The score of a request that waits for a claim is its last deadline. The score of a claimed
// request is its deadline, negated. So at any time now, a queue holds from its lowest score to its
// highest:
//
//	up to -now      running requests
//	-now to 0       claimed requests with an expired lease: claimable again, or timed out
//	0 to now        requests that timed out before a claim
//	from now        waiting requests, the longest claimable first
//
// A claim tidies the two parts in the middle. No store's name has a slash, and the mailbox comes
// last, so all keys are different. A record and its payload live until Retention after the last
// deadline, a queue until a second after the latest of its deadlines, and a memo until the latest
// deadline that its claim set.
type keys struct{ start string }

func (b *Backend) keys(partition, store string) keys {
	return keys{b.prefix + "{" + partition + "}:" + store}
}

func (k keys) record(id string) string     { return k.start + "/r/" + id }
func (k keys) queue(mailbox string) string { return k.start + "/q/" + mailbox }
func (k keys) payload(name string) string  { return k.start + "/p/" + name }
func (k keys) claim(id string) string      { return k.start + "/c/" + id }

// channel returns the channel for the wake-ups of a partition.
func (b *Backend) channel(partition string) string { return b.prefix + "{" + partition + "}" }

// split returns the store and the topic of the key of a queue or a record. Waiters wait for a
// topic: "q/<mailbox>" or "r/<id>".
func split(key string) (store, topic string) {
	_, name, _ := strings.Cut(key, "}:") // a prefix has no braces
	store, topic, _ = strings.Cut(name, "/")
	return store, topic
}

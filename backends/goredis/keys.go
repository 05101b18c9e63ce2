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
//	0 to now        requests that timed out while they waited
//	from now        waiting requests, the earliest last deadline first
//
// A claim settles the two parts in the middle: it gives a claimable request its last deadline as
// the score, and removes timed-out requests. A create removes up to ten of the third part.
//
// Scripts cut keys by length. The key of a record ends with "r/" and an id of 30 characters. The
// random name of a large payload has 26 characters.
//
// No store's name has a slash, and the mailbox comes last, so all keys are different. An ended
// record and its payload live until Retention after the end, a live record and its payload until
// Retention after the last deadline. A queue lives until at least a second after the last deadline
// of each of its requests. For a new request this includes the first claim that may follow. A memo
// lives until the latest deadline that its claim set.
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

// split returns the store and the topic in the key of a queue or a record. The topic is what
// waiters watch: "q/<mailbox>" or "r/<id>".
func split(key string) (store, topic string) {
	_, name, _ := strings.Cut(key, "}:") // a prefix has no braces
	store, topic, _ = strings.Cut(name, "/")
	return store, topic
}

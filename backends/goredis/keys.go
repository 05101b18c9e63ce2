package goredis

import (
	"crypto/rand"
	"strings"
)

// keys makes the keys of one store in one partition:
//
//	<prefix>{<partition>}:<store>/r/<id>        a record: a string, see record.go
//	<prefix>{<partition>}:<store>/q/<mailbox>   pending requests: a sorted set of ids by deadline
//	<prefix>{<partition>}:<store>/l/<mailbox>   claims that have attempts left: a sorted set by deadline, of the
//	                                            last deadline in 16 digits and the id
//	<prefix>{<partition>}:<store>/x/<mailbox>   the newest request of an Exclusive mailbox: its id
//	<prefix>{<partition>}:<store>/s/<id><random> a large ending on its way to the record: see large.go
//	<prefix>{<partition>}:/c/<claim id>         what a claim took: for each request a line with its attempt in
//	                                            4 digits and its record's key
//
//	<prefix>{<partition>}                       the channel of wake-ups, which is no key: the keys of queues that got a
//	                                            request, and of records of requests that have ended
//
// No store's name has a slash, and the mailbox comes last, so no two of them are ever the same key. Everything
// has a time to live: a record its retention, a queue until a second after the last of its deadlines, a marker
// until its request's last deadline, a claim until the latest deadline that it set.
type keys struct{ start string }

func (b *Backend) keys(partition, store string) keys {
	return keys{b.prefix + "{" + partition + "}:" + store}
}

func (k keys) record(id string) string       { return k.start + "/r/" + id }
func (k keys) queue(mailbox string) string   { return k.start + "/q/" + mailbox }
func (k keys) lapsing(mailbox string) string { return k.start + "/l/" + mailbox }
func (k keys) marker(mailbox string) string  { return k.start + "/x/" + mailbox }
func (k keys) staged(id string) string       { return k.start + "/s/" + id + rand.Text() }
func (k keys) claim(id string) string        { return k.start + "/c/" + id }

// channel is where the wake-ups of a partition come.
func (b *Backend) channel(partition string) string { return b.prefix + "{" + partition + "}" }

// topics of wake-ups
func mailboxTopic(mailbox string) string { return "q/" + mailbox }
func requestTopic(id string) string      { return "r/" + id }

// topicOf is what those wait for to whom something happened to this key.
func topicOf(key string) string {
	_, name, _ := strings.Cut(key, "}:") // braces are in no prefix
	_, topic, _ := strings.Cut(name, "/")
	return topic
}

package codec_test

import (
	"fmt"
	"strings"

	"github.com/pendingq/pendingq/codec"
)

// Job is a payload: the question and the answer in one type.
type Job struct {
	Command string `json:"command"`
	Output  string `json:"output,omitempty"`
	Owner   string `json:"-"` // not for clients, but stored
}

func ExampleJSON() {
	c := codec.JSON[Job]()
	stored, _ := c.Marshal(Job{Command: "uptime", Owner: "ada"})
	fmt.Printf("%s\n", stored)
	job, _ := c.Unmarshal(stored)
	fmt.Println(job.Owner)
	// Output:
	// {"command":"uptime","-Owner":"ada"}
	// ada
}

func ExampleMsgpack() {
	c := codec.Msgpack[Job]()
	stored, _ := c.Marshal(Job{Command: "uptime", Owner: "ada"})
	fmt.Printf("%d bytes: %q\n", len(stored), stored)
	job, _ := c.Unmarshal(stored)
	fmt.Println(job.Owner)
	// Output:
	// 34 bytes: "\x83\xa7Command\xa6uptime\xa6Output\xa0\xa5Owner\xa3ada"
	// ada
}

func ExampleZstd() {
	c := codec.Zstd(codec.JSON[Job](), nil)
	stored, _ := c.Marshal(Job{Command: "journal", Output: strings.Repeat("connected\n", 1000)})
	job, _ := c.Unmarshal(stored)
	fmt.Println(c.Name(), len(job.Output), len(stored) < 100)
	// Output: zstd.json 10000 true
}

// A key for each device, such as from a key service.
type deviceKeys map[string][]byte

func (k deviceKeys) SealingKey(mailbox string) (id string, key []byte, err error) {
	key, err = k.OpeningKey(mailbox, "1")
	return "1", key, err
}

func (k deviceKeys) OpeningKey(mailbox, _ string) (key []byte, err error) {
	if key, known := k[mailbox]; known {
		return key, nil
	}
	return nil, codec.ErrUnknownKey
}

func ExampleKeyring() {
	keys := deviceKeys{"device-7": []byte("32 random bytes of this device..")}
	c := codec.Sealed(codec.JSON[Job](), keys).(codec.ContextCodec[Job])
	at := codec.Context{Store: "run", Mailbox: "device-7", ID: "1", Part: codec.Question}
	sealed, err := c.MarshalFor(at, Job{Command: "uptime"})
	fmt.Println(len(sealed), err)
	job, err := c.UnmarshalFor(at, sealed)
	fmt.Println(job.Command, err)
	at.Mailbox = "device-8"
	_, err = c.UnmarshalFor(at, sealed)
	fmt.Println(err)
	// Output:
	// 63 <nil>
	// uptime <nil>
	// get key "1": unknown key
}

func ExampleEqual() {
	fmt.Println(codec.Equal([]Job{}, nil), codec.Equal(Job{Command: "a"}, Job{Command: "b"}))
	// Output: true false
}

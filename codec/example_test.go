package codec_test

import (
	"fmt"

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

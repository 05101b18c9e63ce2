// Package freeport finds ports of loopback for the servers of tests.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range of ports. Systems assign higher ports to other processes. A node of a Redis Cluster
// also needs the port that is busOffset higher.
const (
	lowest    = 10_000
	highest   = 21_999
	busOffset = 10_000
)

// Find returns n different ports that are free, and whose bus ports are free. Another process may
// take a port before the caller's server does, so choose it right before that server starts.
func Find(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := lowest + rand.IntN(highest-lowest)
		for _, p := range []int{port, port + busOffset} {
			l, err := net.Listen("tcp", Address(p))
			if err != nil {
				port = 0
				break
			}
			defer l.Close() // keep the port until the end, so that it is not found twice
		}
		if port != 0 {
			ports = append(ports, port)
		}
	}
	return nil, fmt.Errorf("found only %d free ports of %d", len(ports), n)
}

// Address returns the address of a port of loopback.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
